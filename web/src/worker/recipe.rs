//! Recipes as files: TOML, as the command line reads it.

use super::desk::Answer;
use super::js;
use crate::protocol::{RecipeReply, RecipeRequest, Reply};
use quantscope_session::api::ConvertRequest;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{Blob, BlobPropertyBag};

/// Longest recipe that is read: many times what a list of all layers takes.
const LONGEST: u64 = 16 << 20;

/// Writes a recipe, or reads the one that is attached.
pub(super) async fn answer(request: RecipeRequest, attached: &[JsValue]) -> Answer {
    match request {
        RecipeRequest::Write(request) => {
            let text = request.to_toml()?;
            let options = BlobPropertyBag::new();
            options.set_type("application/toml");
            let blob = Blob::new_with_str_sequence_and_options(&js_sys::Array::of1(&text.into()), &options)
                .map_err(|error| js::error("refused", js::reason(&error)))?;
            let name = request.name.as_deref().unwrap_or("recipe");
            // What browsers refuse in names of files, and folders.
            let file =
                format!("{}.toml", name.replace(|c: char| !c.is_alphanumeric() && !"-_.".contains(c), "-"));
            Ok((Reply::Recipe(RecipeReply::Written { file }), vec![blob.into()]))
        }
        RecipeRequest::Read => {
            let file = attached.first().and_then(|file| file.dyn_ref::<Blob>());
            let file = file.ok_or_else(|| js::error("refused", "No recipe was given."))?;
            if js::to_u64(file.size()).is_none_or(|bytes| bytes > LONGEST) {
                return Err(js::error("refused", format!("The recipe is longer than {LONGEST} bytes.")));
            }
            let text = JsFuture::from(file.text()).await.map_err(|error| {
                js::error("source", format!("The recipe could not be read: {}", js::reason(&error)))
            })?;
            let request = ConvertRequest::from_toml(&text.as_string().unwrap_or_default())?;
            Ok((Reply::Recipe(RecipeReply::Read(Box::new(request))), Vec::new()))
        }
    }
}
