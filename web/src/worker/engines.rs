//! Which engine a job runs on: the CPU twin always, a WebGPU device where one is wanted and there.

use super::desk::Desk;
use super::pool::{self, Pool};
use super::tell;
use crate::protocol::{EngineStatus, Event};
use quantscope_gpu::{GpuEngine, GpuOptions};
use quantscope_session::api::EngineChoice;
use quantscope_session::{DividedEngine, Engine as _, Engines};
use std::cell::RefCell;
use std::rc::Rc;

/// The engines of this worker.
pub(super) struct EngineRoom {
    cpu: DividedEngine<Pool>,
    gpu: RefCell<Gpu>,
}

/// What is known of the GPU.
enum Gpu {
    /// Nobody has looked.
    Unknown,
    /// There is none; why.
    Missing(String),
    /// A device.
    Open(Rc<GpuEngine>),
}

/// Engines for one job.
pub(super) struct Ready<'a> {
    cpu: &'a DividedEngine<Pool>,
    gpu: Option<Rc<GpuEngine>>,
}

impl Ready<'_> {
    /// As the session takes them.
    pub(super) fn engines(&self) -> Engines<'_> {
        Engines { gpu: self.gpu.as_deref().map(|gpu| gpu as _), cpu: self.cpu }
    }
}

impl Desk {
    /// Engines for a job that begins now.
    pub(super) async fn ready(&self) -> Ready<'_> {
        self.engines().ready(self.engine_choice.get()).await
    }

    /// Tells the page which engine the next job will run on.
    pub(super) async fn tell_engine(&self) {
        tell(Event::Engine(self.engines().status(self.engine_choice.get()).await));
    }
}

impl EngineRoom {
    /// A room in which nothing was looked for yet.
    /// `workers` is how many compute workers are asked for.
    pub(super) fn new(workers: Option<u32>) -> Self {
        let cpu = DividedEngine::new(Pool::new(workers), pool::LEAST);
        Self { cpu, gpu: RefCell::new(Gpu::Unknown) }
    }

    /// The compute workers.
    pub(super) fn pool(&self) -> &Pool {
        self.cpu.helpers()
    }

    /// Bytes of WebAssembly memory: of this worker, then of each compute worker.
    pub(super) fn memory(&self) -> Vec<u64> {
        self.cpu.helpers().memory()
    }

    async fn ready(&self, choice: EngineChoice) -> Ready<'_> {
        self.cpu.helpers().start();
        Ready { cpu: &self.cpu, gpu: self.wanted(choice).await.ok() }
    }

    /// Which engine the next job will run on, and why. A device that was lost meanwhile is noticed here.
    async fn status(&self, choice: EngineChoice) -> EngineStatus {
        let missing = match self.wanted(choice).await {
            Ok(gpu) => {
                let words = gpu.description();
                let note = words.strip_prefix("WebGPU: ").unwrap_or(&words);
                return EngineStatus { label: "WebGPU".into(), note: note.into(), gpu: true };
            }
            Err(missing) => missing,
        };
        EngineStatus { label: "CPU".into(), note: missing, gpu: false }
    }

    /// The GPU engine if the choice comes to it, else why not. A choice of the GPU that cannot be met comes to
    /// the CPU, and the words say so.
    async fn wanted(&self, choice: EngineChoice) -> Result<Rc<GpuEngine>, String> {
        if choice == EngineChoice::Cpu {
            return Err(String::new());
        }
        let gpu = self.device().await?;
        if choice == EngineChoice::Auto && gpu.is_software() {
            return Err("WebGPU is in software".into());
        }
        Ok(gpu)
    }

    /// The device, looked for if nobody has, and opened anew if it was lost.
    async fn device(&self) -> Result<Rc<GpuEngine>, String> {
        let known = match &*self.gpu.borrow() {
            Gpu::Unknown => None,
            Gpu::Missing(why) => Some(Err(why.clone())),
            Gpu::Open(gpu) => Some(Ok(Rc::clone(gpu))),
        };
        match known {
            Some(Err(why)) => return Err(why),
            // A lost device answers every question with its loss, the smallest too.
            Some(Ok(gpu)) if gpu.scale_verify(&[0]).await.is_ok() => return Ok(gpu),
            Some(Ok(_)) | None => {}
        }
        let found =
            GpuEngine::request(GpuOptions::default()).await.map(Rc::new).map_err(|why| why.to_string());
        *self.gpu.borrow_mut() = match &found {
            Ok(gpu) => Gpu::Open(Rc::clone(gpu)),
            Err(why) => Gpu::Missing(why.clone()),
        };
        found
    }
}
