//! Finding an adapter and opening a device on it.

use quantscope_kernels::EngineError;
use std::sync::{Arc, Mutex, PoisonError};

/// What is asked of the GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GpuOptions {
    /// Bytes a buffer may have at most, if less than the device allows. Tiles that need more are worked on
    /// in parts.
    pub most_buffer_bytes: Option<u64>,
    /// Workgroups in one dimension of a dispatch at most, if less than the device allows.
    pub most_workgroups: Option<u32>,
}

/// Why there is no GPU engine. The CPU engine works in its place; the words are for the status bar.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GpuUnavailable {
    /// The browser or the system offers no adapter.
    #[error("no GPU adapter: {0}")]
    NoAdapter(String),
    /// There is an adapter, but it gave no device.
    #[error("the GPU adapter {adapter} gave no device: {reason}")]
    NoDevice {
        /// Name of the adapter.
        adapter: String,
        /// The system's own words.
        reason: String,
    },
}

/// An open device.
pub(crate) struct Device {
    pub(crate) device: wgpu::Device,
    pub(crate) queue: wgpu::Queue,
    /// Words for the status bar.
    pub(crate) description: String,
    /// Whether the adapter computes on the CPU.
    pub(crate) is_software: bool,
    /// Bytes a buffer may have at most, a multiple of 256.
    pub(crate) most_buffer_bytes: u64,
    /// Workgroups in one dimension at most.
    pub(crate) most_workgroups: u32,
    trouble: Arc<Mutex<Option<EngineError>>>,
}

impl Device {
    pub(crate) async fn request(options: GpuOptions) -> Result<Self, GpuUnavailable> {
        let instance = wgpu::Instance::new(instance_descriptor());
        let wanted = wgpu::RequestAdapterOptions {
            power_preference: wgpu::PowerPreference::HighPerformance,
            ..Default::default()
        };
        let adapter = instance.request_adapter(&wanted).await;
        let adapter = adapter.map_err(|e| GpuUnavailable::NoAdapter(e.to_string()))?;
        let info = adapter.get_info();
        let is_software = info.device_type == wgpu::DeviceType::Cpu;
        let description = describe(&info, is_software);
        // What the adapter has, not the defaults: those stop at 128 MiB a binding.
        let limits = adapter.limits();
        let descriptor = wgpu::DeviceDescriptor { required_limits: limits.clone(), ..Default::default() };
        let (device, queue) = adapter
            .request_device(&descriptor)
            .await
            .map_err(|e| GpuUnavailable::NoDevice { adapter: description.clone(), reason: e.to_string() })?;

        let trouble = Arc::new(Mutex::new(None));
        let lost = Arc::clone(&trouble);
        device.set_device_lost_callback(move |reason, message| {
            let words = if message.is_empty() { format!("{reason:?}") } else { message };
            set(&lost, EngineError::DeviceLost(words));
        });
        let refused = Arc::clone(&trouble);
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            set(&refused, EngineError::Refused(error.to_string()));
        }));

        // A result is counted in 32-bit words, two codes to a byte, and element numbers are such words.
        let most = limits.max_storage_buffer_binding_size.min(limits.max_buffer_size).min(1 << 30);
        let most = options.most_buffer_bytes.map_or(most, |bytes| bytes.min(most));
        let most_workgroups = limits.max_compute_workgroups_per_dimension;
        Ok(Self {
            device,
            queue,
            description,
            is_software,
            most_buffer_bytes: most & !255,
            most_workgroups: options
                .most_workgroups
                .map_or(most_workgroups, |most| most.min(most_workgroups)),
            trouble,
        })
    }

    /// What has gone wrong outside of any call: the device is lost for good, another error is told once.
    pub(crate) fn check(&self) -> Result<(), EngineError> {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        match &*trouble {
            None => Ok(()),
            Some(lost @ EngineError::DeviceLost(_)) => Err(lost.clone()),
            Some(_) => trouble.take().map_or(Ok(()), Err),
        }
    }

    /// The device is gone; in its own words if it has said why.
    pub(crate) fn lost(&self, otherwise: &str) -> EngineError {
        match self.check() {
            Err(lost @ EngineError::DeviceLost(_)) => lost,
            _ => EngineError::DeviceLost(otherwise.to_owned()),
        }
    }
}

/// Keeps the first trouble, but for a loss, which is worse than any other.
fn set(trouble: &Mutex<Option<EngineError>>, found: EngineError) {
    let mut trouble = trouble.lock().unwrap_or_else(PoisonError::into_inner);
    if trouble.is_none() || matches!(found, EngineError::DeviceLost(_)) {
        *trouble = Some(found);
    }
}

fn instance_descriptor() -> wgpu::InstanceDescriptor {
    let backends = if cfg!(target_arch = "wasm32") {
        wgpu::Backends::BROWSER_WEBGPU
    } else {
        wgpu::Backends::VULKAN | wgpu::Backends::METAL | wgpu::Backends::DX12
    };
    wgpu::InstanceDescriptor { backends, ..wgpu::InstanceDescriptor::new_without_display_handle() }
}

fn describe(info: &wgpu::AdapterInfo, is_software: bool) -> String {
    let backend = match info.backend {
        wgpu::Backend::BrowserWebGpu => "WebGPU",
        wgpu::Backend::Vulkan => "Vulkan",
        wgpu::Backend::Metal => "Metal",
        wgpu::Backend::Dx12 => "Direct3D 12",
        wgpu::Backend::Gl => "OpenGL",
        wgpu::Backend::Noop => "no device",
    };
    let name = if info.name.is_empty() { "unnamed adapter" } else { &info.name };
    let software = if is_software { ", in software" } else { "" };
    format!("{backend}: {name}{software}")
}
