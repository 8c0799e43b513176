//! One dispatch of one kernel: buffers filled, shader run, results brought back.

use crate::device::Device;
use crate::pool::{Buffers, Pool};
use crate::signal::signal;
use quantscope_kernels::spec::{Access, KernelSpec};
use quantscope_kernels::{EngineError, Kernel};
use std::cell::RefCell;
use std::collections::BTreeMap;

/// What a storage buffer of a kernel holds before the run.
pub(crate) enum Storage<'a> {
    /// These bytes, filled up with zeros to a whole word.
    Input(&'a [u8]),
    /// Zeros, or for a buffer the shader writes from end to end anything: this many bytes come back.
    Output {
        /// Bytes of the result.
        bytes: u64,
        /// Whether the shader counts on zeros.
        is_zeroed: bool,
    },
}

/// Runs kernels on a device; keeps their pipelines and buffers.
pub(crate) struct Runner {
    pub(crate) device: Device,
    pool: Pool,
    /// By the name of the shader.
    pipelines: RefCell<BTreeMap<&'static str, wgpu::ComputePipeline>>,
}

/// Offset and length of one output in the readback buffer.
struct Place {
    offset: u64,
    bytes: u64,
}

impl Runner {
    pub(crate) fn new(device: Device) -> Self {
        Self { device, pool: Pool::default(), pipelines: RefCell::default() }
    }

    /// Runs `kernel` with at least `invocations`; `storage` has one entry for each binding of its
    /// description, in order. Gives the outputs, in order, as `use_results` makes them.
    pub(crate) async fn run<R>(
        &self,
        kernel: Kernel,
        params: &[u32],
        storage: &[Storage<'_>],
        invocations: u64,
        use_results: impl FnOnce(&[&[u8]]) -> R,
    ) -> Result<R, EngineError> {
        self.run_shader(kernel.spec(), params, storage, invocations, use_results).await
    }

    /// Runs any shader; otherwise as [`Self::run`].
    pub(crate) async fn run_shader<R>(
        &self,
        spec: &'static KernelSpec,
        params: &[u32],
        storage: &[Storage<'_>],
        invocations: u64,
        use_results: impl FnOnce(&[&[u8]]) -> R,
    ) -> Result<R, EngineError> {
        self.device.check()?;
        let groups = spec.workgroups(invocations, self.device.most_workgroups).ok_or_else(|| {
            EngineError::Refused(format!("{invocations} invocations are more than it runs at once"))
        })?;
        let pipeline = self.pipeline(spec).await?;
        let mut buffers = self.pool.take();

        // Both scopes are closed before anything is awaited: they are a stack that runs would share.
        let memory = self.device.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let validation = self.device.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let (readback, places) = self.submit(&pipeline, &mut buffers, params, storage, groups);
        let (validation, memory) = (validation.pop(), memory.pop());
        let total = places.last().map_or(0, |place| place.offset + padded(place.bytes));
        let (sender, mapped) = signal();
        readback.map_async(wgpu::MapMode::Read, 0..total, move |result| sender.send(result));
        self.wait_for_callbacks()?;

        let (validation, memory) = (validation.await, memory.await);
        if let Some(error) = memory.or(validation) {
            return Err(EngineError::Refused(error.to_string()));
        }
        match mapped.await {
            Some(Ok(())) => {}
            Some(Err(error)) => return Err(self.device.lost(&error.to_string())),
            None => return Err(self.device.lost("it never answered")),
        }
        let result = {
            let view = readback.get_mapped_range(0..total);
            let view = view.map_err(|error| self.device.lost(&error.to_string()))?;
            let bytes: &[u8] = &view;
            let outputs: Vec<&[u8]> = places.iter().map(|place| slice(bytes, place)).collect();
            use_results(&outputs)
        };
        readback.unmap();
        self.device.check()?;
        self.pool.give_back(buffers);
        Ok(result)
    }

    /// Uploads, dispatches, and copies the outputs one after another into the readback buffer.
    fn submit(
        &self,
        pipeline: &wgpu::ComputePipeline,
        buffers: &mut Buffers,
        params: &[u32],
        storage: &[Storage<'_>],
        groups: [u32; 2],
    ) -> (wgpu::Buffer, Vec<Place>) {
        let (device, queue) = (&self.device.device, &self.device.queue);
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let mut bound = Vec::new();
        let mut outputs = Vec::new();
        let uniform = buffers.params(device, 64);
        queue.write_buffer(&uniform, 0, bytemuck::cast_slice(params));
        bound.push((uniform, 64));
        for (slot, storage) in storage.iter().enumerate() {
            match *storage {
                Storage::Input(bytes) => {
                    let size = padded(bytes.len() as u64).max(16);
                    let buffer = buffers.storage(device, slot, size);
                    upload(queue, &buffer, bytes);
                    bound.push((buffer, size));
                }
                Storage::Output { bytes, is_zeroed } => {
                    let size = padded(bytes).max(16);
                    let buffer = buffers.storage(device, slot, size);
                    if is_zeroed {
                        encoder.clear_buffer(&buffer, 0, Some(size));
                    }
                    outputs.push((buffer.clone(), bytes));
                    bound.push((buffer, size));
                }
            }
        }
        let entries = bound.iter().zip(0..).map(|((buffer, size), binding)| wgpu::BindGroupEntry {
            binding,
            resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                buffer,
                offset: 0,
                size: wgpu::BufferSize::new(*size),
            }),
        });
        let entries: Vec<_> = entries.collect();
        let bind_group = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &pipeline.get_bind_group_layout(0),
            entries: &entries,
        });
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            pass.set_pipeline(pipeline);
            pass.set_bind_group(0, &bind_group, &[]);
            pass.dispatch_workgroups(groups[0], groups[1], 1);
        }
        let mut places: Vec<Place> = Vec::new();
        for (_, bytes) in &outputs {
            let offset = places.last().map_or(0, |place| place.offset + padded(place.bytes));
            places.push(Place { offset, bytes: *bytes });
        }
        let total = places.last().map_or(0, |place| place.offset + padded(place.bytes));
        let readback = buffers.readback(device, total);
        for ((buffer, bytes), place) in outputs.iter().zip(&places) {
            encoder.copy_buffer_to_buffer(buffer, 0, &readback, place.offset, padded(*bytes));
        }
        queue.submit([encoder.finish()]);
        (readback, places)
    }

    /// Natively a device calls back only while it is polled; in a browser by itself.
    fn wait_for_callbacks(&self) -> Result<(), EngineError> {
        match self.device.device.poll(wgpu::PollType::wait_indefinitely()) {
            Ok(_) => Ok(()),
            Err(error) => Err(self.device.lost(&error.to_string())),
        }
    }

    async fn pipeline(&self, spec: &'static KernelSpec) -> Result<wgpu::ComputePipeline, EngineError> {
        if let Some(pipeline) = self.pipelines.borrow().get(spec.name) {
            return Ok(pipeline.clone());
        }
        let scope = self.device.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let pipeline = build(&self.device.device, spec);
        if let Some(error) = scope.pop().await {
            return Err(EngineError::Refused(format!("kernel {}: {error}", spec.name)));
        }
        self.pipelines.borrow_mut().insert(spec.name, pipeline.clone());
        Ok(pipeline)
    }
}

/// Bytes rounded up to whole words: copies and bindings come in words.
fn padded(bytes: u64) -> u64 {
    bytes.next_multiple_of(4)
}

#[allow(clippy::cast_possible_truncation, reason = "the view is in memory, so its length is a usize")]
fn slice<'v>(view: &'v [u8], place: &Place) -> &'v [u8] {
    view.get(place.offset as usize..(place.offset + place.bytes) as usize).unwrap_or_default()
}

fn upload(queue: &wgpu::Queue, buffer: &wgpu::Buffer, bytes: &[u8]) {
    let (words, rest) = bytes.split_at(bytes.len() & !3);
    queue.write_buffer(buffer, 0, words);
    if !rest.is_empty() {
        let mut last = [0; 4];
        last[..rest.len()].copy_from_slice(rest);
        queue.write_buffer(buffer, words.len() as u64, &last);
    }
}

fn build(device: &wgpu::Device, spec: &KernelSpec) -> wgpu::ComputePipeline {
    let label = Some(spec.name);
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label,
        source: wgpu::ShaderSource::Wgsl(spec.source().into()),
    });
    let kinds = spec
        .bindings
        .iter()
        .map(|binding| wgpu::BufferBindingType::Storage { read_only: binding.access == Access::Read });
    let entries: Vec<_> = std::iter::once(wgpu::BufferBindingType::Uniform)
        .chain(kinds)
        .zip(0..)
        .map(|(ty, binding)| wgpu::BindGroupLayoutEntry {
            binding,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
            count: None,
        })
        .collect();
    let descriptor = wgpu::BindGroupLayoutDescriptor { label, entries: &entries };
    let layout = device.create_bind_group_layout(&descriptor);
    let layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label,
        bind_group_layouts: &[Some(&layout)],
        ..Default::default()
    });
    device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label,
        layout: Some(&layout),
        module: &module,
        entry_point: Some(KernelSpec::ENTRY_POINT),
        compilation_options: wgpu::PipelineCompilationOptions::default(),
        cache: None,
    })
}
