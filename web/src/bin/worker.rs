//! The worker's program: waits for requests.
#![forbid(unsafe_code)]

fn main() {
    quantscope_web::start_worker();
}
