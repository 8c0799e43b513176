//! The page's program: mounts the application on the document.

fn main() {
    quantscope_web::start_page();
}
