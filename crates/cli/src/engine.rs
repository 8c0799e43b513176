//! Which engine works: the GPU where one is wanted and there, the CPU always behind it.

use crate::exit::Failure;
use quantscope_gpu::{GpuEngine, GpuOptions};
use quantscope_session::{CpuEngine, EngineChoice, Engines, join_threads};

/// The engines of one run, kept for as long as it lasts.
pub(crate) struct EngineSet {
    cpu: CpuEngine,
    gpu: Option<GpuEngine>,
}

impl EngineSet {
    /// Opens what the choice asks for. `auto` takes a hardware GPU if there is one; a software adapter is
    /// slower than the CPU engine.
    pub(crate) async fn open(choice: EngineChoice) -> Result<Self, Failure> {
        // Whoever opens engines calls them.
        join_threads();
        let cpu = CpuEngine::new();
        let gpu = match choice {
            EngineChoice::Cpu => None,
            EngineChoice::Auto if !may_have_gpu() => None,
            EngineChoice::Auto => {
                GpuEngine::request(GpuOptions::default()).await.ok().filter(|gpu| !gpu.is_software())
            }
            EngineChoice::Gpu => Some(GpuEngine::request(GpuOptions::default()).await.map_err(|error| {
                Failure::new(
                    "refused",
                    format!("{error}; leave out --engine gpu, the CPU writes the same bytes"),
                )
            })?),
        };
        Ok(Self { cpu, gpu })
    }

    pub(crate) fn engines(&self) -> Engines<'_> {
        Engines { gpu: self.gpu.as_ref().map(|gpu| gpu as _), cpu: &self.cpu }
    }
}

/// Whether this machine can have a hardware GPU at all. On Linux one shows as a device file; without any,
/// asking the drivers would only cost time and make them complain of a missing display.
fn may_have_gpu() -> bool {
    let devices = ["/dev/dri", "/dev/nvidiactl", "/dev/dxg", "/dev/kgsl-3d0", "/dev/mali0"];
    !cfg!(target_os = "linux") || devices.iter().any(|device| std::path::Path::new(device).exists())
}
