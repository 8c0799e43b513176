//! Parts of the screen: properties in, callbacks out. None of them asks for anything.

mod band;
mod drop_area;
mod error_box;
mod finding_card;
mod header;
mod histogram;
mod job_bar;
mod keys_help;
mod layer_list;
mod layer_name;
mod layer_panel;
mod marks;
mod options_of;
mod rail;
mod scale_map;
mod share_bar;
mod size_map;
mod words;

pub(crate) use band::Band;
pub(crate) use drop_area::DropArea;
pub(crate) use error_box::{ErrorBox, NoticeBox};
pub(crate) use finding_card::FindingCard;
pub(crate) use header::{Header, SEARCH_ID};
pub(crate) use histogram::HistogramPicture;
pub(crate) use job_bar::JobBar;
pub(crate) use keys_help::KeysHelp;
pub(crate) use layer_list::LayerTable;
pub(crate) use layer_name::LayerName;
pub(crate) use layer_panel::LayerPanel;
pub(crate) use marks::{SchemeTag, SeverityMark, severity_class};
pub(crate) use options_of::OptionsOf;
pub(crate) use rail::Rail;
pub(crate) use scale_map::ScalePicture;
pub(crate) use share_bar::ShareBar;
pub(crate) use size_map::SizeMap;
pub(crate) use words::Words;
