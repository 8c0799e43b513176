//! The page's program: mounts the application on the document.
#![forbid(unsafe_code)]

fn main() {
    quantscope_web::start_page();
}
