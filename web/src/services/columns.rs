//! Remembers which columns people have chosen, where the browser lets us.

use crate::state::columns::Columns;
use web_sys::Storage;

const KEY: &str = "quantscope.columns";

fn storage() -> Option<Storage> {
    web_sys::window()?.local_storage().ok()?
}

/// What was chosen last time.
pub(crate) fn stored() -> Columns {
    let text = storage().and_then(|storage| storage.get_item(KEY).ok()?);
    text.map_or_else(Columns::default, |text| Columns::parse(&text))
}

/// Keeps a choice.
pub(crate) fn keep(text: &str) {
    if let Some(storage) = storage() {
        // A browser that keeps nothing shows the usual columns next time.
        let _ = storage.set_item(KEY, text);
    }
}
