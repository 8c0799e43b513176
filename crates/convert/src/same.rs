//! Configs of an output whose layers are stored as they were: they say what they said, under the new names and of
//! another dtype.

use crate::builder::Builder;
use crate::configs::{pretty, set_dtype};
use crate::error::ConvertError;
use crate::names::{Declared, Moved, Origin};

/// Strangers that are named one by one.
const NAMED: usize = 5;

impl Builder<'_> {
    /// The configs, where anything in them changes. `dtype` is the word for the type that all floats are cast to.
    pub(crate) fn same_configs(
        &mut self,
        dtype: Option<&str>,
    ) -> Result<Vec<(String, Vec<u8>)>, ConvertError> {
        let mut config = self.checkpoint.model_config().map(|config| config.value.clone());
        if let Some(config) = &mut config {
            set_dtype(config, dtype);
        }
        let mut hf = None;
        if self.views.applied.origin == Origin::User || self.recipe.fuse {
            hf = self.checkpoint.hf_quant_value.clone();
            let modules: Vec<Moved<'_>> = self
                .views
                .modules
                .iter()
                .flat_map(|module| {
                    let members = module.joined.iter().map(|member| member.layer);
                    let own = module.joined.is_empty().then_some(module.layer);
                    let layers = own.into_iter().chain(members).filter_map(|i| self.model.layers.get(i));
                    layers.map(|layer| {
                        let is_quantized = layer.is_quantized();
                        Moved { before: &layer.name, after: &module.name, is_quantized }
                    })
                })
                .collect();
            let joined = self.views.modules.iter().flat_map(|module| {
                module.joined.iter().map(|member| (member.name.as_str(), module.name.as_str()))
            });
            let mut declared = Declared::new(&self.views.applied.rules, &modules, joined.collect());
            if let Some(config) = &mut config {
                declared.config(config);
            }
            if let Some(hf) = &mut hf {
                declared.hf_quant_config(hf);
            }
            let strangers = declared.strangers;
            let warning =
                |pattern: &String| format!("the configs speak of `{pattern}`, which no module is called");
            self.plan.warnings.extend(strangers.iter().take(NAMED).map(warning));
            if let Some(more) = strangers.len().checked_sub(NAMED + 1) {
                self.plan.warnings.push(format!("and of {} more such patterns", more + 1));
            }
        } else if dtype.is_none() {
            return Ok(Vec::new());
        }
        let files = [("config.json", config), ("hf_quant_config.json", hf)];
        let written = files.into_iter().filter_map(|(name, value)| Some((name.to_string(), value?)));
        written.map(|(name, value)| Ok((name, pretty(&value)?))).collect()
    }
}
