//! The worker's program: waits for requests.

fn main() {
    quantscope_web::start_worker();
}
