//! Buffers that are kept from tile to tile and grow as needed.

use std::cell::RefCell;

/// The buffers of one run: parameters, storage by binding, readback.
#[derive(Default)]
pub(crate) struct Buffers {
    params: Option<wgpu::Buffer>,
    storage: Vec<Option<wgpu::Buffer>>,
    readback: Option<wgpu::Buffer>,
}

/// Sets of buffers that no run uses at the moment. Runs that overlap take different sets.
#[derive(Default)]
pub(crate) struct Pool {
    free: RefCell<Vec<Buffers>>,
}

impl Pool {
    pub(crate) fn take(&self) -> Buffers {
        self.free.borrow_mut().pop().unwrap_or_default()
    }

    /// Takes a set back. After an error a set is dropped instead: its buffers may not be what they seem.
    pub(crate) fn give_back(&self, buffers: Buffers) {
        self.free.borrow_mut().push(buffers);
    }
}

impl Buffers {
    /// The uniform buffer, at least `bytes` long.
    pub(crate) fn params(&mut self, device: &wgpu::Device, bytes: u64) -> wgpu::Buffer {
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        grown(&mut self.params, device, bytes, usage)
    }

    /// The storage buffer number `slot`, at least `bytes` long.
    pub(crate) fn storage(&mut self, device: &wgpu::Device, slot: usize, bytes: u64) -> wgpu::Buffer {
        if self.storage.len() <= slot {
            self.storage.resize(slot + 1, None);
        }
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC;
        match self.storage.get_mut(slot) {
            Some(kept) => grown(kept, device, bytes, usage),
            None => grown(&mut None, device, bytes, usage),
        }
    }

    /// The buffer that results are mapped from, at least `bytes` long.
    pub(crate) fn readback(&mut self, device: &wgpu::Device, bytes: u64) -> wgpu::Buffer {
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        grown(&mut self.readback, device, bytes, usage)
    }
}

/// The kept buffer if it is long enough, or a new one: the next power of two, unless that is more than the
/// device allows.
fn grown(
    kept: &mut Option<wgpu::Buffer>,
    device: &wgpu::Device,
    bytes: u64,
    usage: wgpu::BufferUsages,
) -> wgpu::Buffer {
    if let Some(buffer) = kept.as_ref().filter(|buffer| buffer.size() >= bytes) {
        return buffer.clone();
    }
    let roomy = bytes.next_power_of_two().max(256);
    let size = if roomy <= device.limits().max_buffer_size { roomy } else { bytes };
    let descriptor = wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false };
    kept.insert(device.create_buffer(&descriptor)).clone()
}
