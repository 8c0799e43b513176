//! Where the user is, as the address fragment writes it: view, layer, filters.
//!
//! `#/layers?layer=decoder.conv_in&q=conv&scheme=nvfp4`. What is not said has its default, and what is not
//! understood is left out, so that an old address still opens.

use quantscope_session::api::{DifferenceQuery, FindingQuery, LayerQuery, Severity};

/// The views of an open checkpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum View {
    /// What is this, and is it right?
    #[default]
    Overview,
    /// The layer list and the panel of one layer.
    Layers,
    /// What is wrong, by rule.
    Findings,
    /// What is stored twice.
    Ties,
    /// What quantization would do.
    Preview,
    /// This checkpoint beside another.
    Compare,
    /// Recipe, plan, run, result.
    Convert,
}

impl View {
    /// All of them, in the order of the rail.
    pub(crate) const ALL: [Self; 7] = [
        Self::Overview,
        Self::Layers,
        Self::Findings,
        Self::Ties,
        Self::Preview,
        Self::Compare,
        Self::Convert,
    ];

    /// The word in the address.
    pub(crate) fn slug(self) -> &'static str {
        match self {
            Self::Overview => "overview",
            Self::Layers => "layers",
            Self::Findings => "findings",
            Self::Ties => "ties",
            Self::Preview => "preview",
            Self::Compare => "compare",
            Self::Convert => "convert",
        }
    }

    /// The word on the rail.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Overview => "Overview",
            Self::Layers => "Layers",
            Self::Findings => "Findings",
            Self::Ties => "Ties",
            Self::Preview => "Preview",
            Self::Compare => "Compare",
            Self::Convert => "Convert",
        }
    }
}

/// Which layers the list shows, and in which order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    /// Part of a name, or a glob.
    pub(crate) text: String,
    /// Only this scheme.
    pub(crate) scheme: Option<String>,
    /// Only this kind.
    pub(crate) kind: Option<String>,
    /// Only layers with findings.
    pub(crate) with_findings: bool,
    /// Only layers with findings of this severity.
    pub(crate) severity: Option<Severity>,
    /// Only layers that store this many bytes or more.
    pub(crate) at_least_bytes: u64,
    /// Only layers that this rule touches.
    pub(crate) rule: Option<String>,
    /// A column's word, with `-` for descending; empty for the default.
    pub(crate) sort: String,
}

impl Filter {
    /// The filter as the session asks it, with a window.
    pub(crate) fn query(&self, start: u64, count: u64) -> LayerQuery {
        LayerQuery {
            text: self.text.clone(),
            scheme: self.scheme.clone(),
            kind: self.kind.clone(),
            with_findings: self.with_findings,
            severity: self.severity,
            at_least_bytes: self.at_least_bytes,
            rule: self.rule.clone(),
            sort: self.sort.clone(),
            start,
            count,
        }
    }

    /// Whether it leaves anything out.
    pub(crate) fn narrows(&self) -> bool {
        Self { sort: String::new(), ..self.clone() } != Self::default()
    }

    /// The sort after a click on the heading of `column`: ascending, descending, default.
    pub(crate) fn next_sort(&self, column: &str) -> String {
        match self.sort.strip_prefix('-') {
            Some(current) if current == column => String::new(),
            None if self.sort == column => format!("-{column}"),
            _ => column.into(),
        }
    }
}

/// Where the user is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Route {
    /// View.
    pub(crate) view: View,
    /// Layer in the panel.
    pub(crate) layer: Option<String>,
    /// Filters of the layer list.
    pub(crate) filter: Filter,
    /// Layers as a flat list, not as a tree.
    pub(crate) flat: bool,
    /// Rows of the tree that are not open, or closed, as they are by themselves.
    pub(crate) toggled: Vec<String>,
    /// Module in the map of sizes; empty for the whole checkpoint.
    pub(crate) at: String,
    /// Filters of the findings.
    pub(crate) findings: FindingQuery,
    /// Which differences of two checkpoints are listed.
    pub(crate) compare: DifferenceQuery,
    /// The difference in the panel.
    pub(crate) pair: Option<String>,
    /// Where the checkpoint is, if it is at an address.
    pub(crate) address: Option<String>,
}

/// Severities by the words of the address.
const SEVERITIES: [(&str, Severity); 3] =
    [("error", Severity::Error), ("warning", Severity::Warning), ("info", Severity::Info)];

/// The word of a severity.
pub(crate) fn severity_word(severity: Severity) -> &'static str {
    SEVERITIES.iter().find(|(_, known)| *known == severity).map_or("info", |(word, _)| word)
}

/// The severity of a word.
pub(crate) fn severity_of(word: &str) -> Option<Severity> {
    SEVERITIES.iter().find(|(known, _)| *known == word).map(|(_, severity)| *severity)
}

impl Route {
    /// The address fragment, beginning with `#/`.
    pub(crate) fn fragment(&self) -> String {
        let mut pairs: Vec<(&str, &str)> = Vec::new();
        let least = self.filter.at_least_bytes.to_string();
        if self.view == View::Overview && !self.at.is_empty() {
            pairs.push(("at", &self.at));
        }
        if self.view == View::Layers {
            let filter = &self.filter;
            let optional = [
                ("layer", &self.layer),
                ("scheme", &filter.scheme),
                ("kind", &filter.kind),
                ("rule", &filter.rule),
            ];
            pairs.extend(optional.into_iter().filter_map(|(key, value)| Some((key, value.as_deref()?))));
            let texts = [("q", &filter.text), ("sort", &filter.sort)];
            pairs.extend(
                texts
                    .into_iter()
                    .filter(|(_, value)| !value.is_empty())
                    .map(|(key, value)| (key, value.as_str())),
            );
            if filter.with_findings {
                pairs.push(("found", "1"));
            }
            pairs.extend(filter.severity.map(|severity| ("severity", severity_word(severity))));
            if filter.at_least_bytes > 0 {
                pairs.push(("least", &least));
            }
            if self.flat {
                pairs.push(("flat", "1"));
            }
            pairs.extend(self.toggled.iter().map(|key| ("toggled", key.as_str())));
        }
        if self.view == View::Preview {
            pairs.extend(self.layer.as_deref().map(|layer| ("layer", layer)));
        }
        if self.view == View::Findings {
            let findings = &self.findings;
            let texts = [("rule", findings.rule.as_str()), ("layer", findings.layer.as_str())];
            pairs.extend(findings.severity.map(|severity| ("severity", severity_word(severity))));
            pairs.extend(findings.target.as_deref().map(|target| ("target", target)));
            pairs.extend(texts.into_iter().filter(|(_, value)| !value.is_empty()));
        }
        if self.view == View::Compare {
            let DifferenceQuery { text, cause, unexplained, sort } = &self.compare;
            pairs.extend(self.pair.as_deref().map(|pair| ("pair", pair)));
            pairs.extend(cause.as_deref().map(|cause| ("cause", cause)));
            pairs.extend(
                [("q", text.as_str()), ("sort", sort.as_str())]
                    .into_iter()
                    .filter(|(_, value)| !value.is_empty()),
            );
            pairs.extend(unexplained.then_some(("open", "1")));
        }
        pairs.extend(self.address.as_deref().map(|address| ("address", address)));
        let query: Vec<String> =
            pairs.iter().map(|(key, value)| format!("{key}={}", encode(value))).collect();
        let mark = if query.is_empty() { "" } else { "?" };
        format!("#/{}{mark}{}", self.view.slug(), query.join("&"))
    }

    /// Where an address leads from here: what belongs to other views is not in it, and waits for the way back.
    pub(crate) fn navigated(&self, to: Self) -> Self {
        let address = to.address.clone().or_else(|| self.address.clone());
        match to.view {
            View::Layers => Self {
                findings: self.findings.clone(),
                at: self.at.clone(),
                compare: self.compare.clone(),
                pair: self.pair.clone(),
                address,
                ..to
            },
            View::Compare => {
                Self { view: to.view, compare: to.compare, pair: to.pair, address, ..self.clone() }
            }
            View::Overview => Self { view: to.view, at: to.at, address, ..self.clone() },
            View::Findings => Self { view: to.view, findings: to.findings, address, ..self.clone() },
            View::Preview => Self { view: to.view, layer: to.layer, address, ..self.clone() },
            view => Self { view, address, ..self.clone() },
        }
    }

    /// Reads a fragment. Anything that is not understood is taken as not said.
    pub(crate) fn parse(fragment: &str) -> Self {
        let rest = fragment.trim_start_matches('#').trim_start_matches('/');
        let (view, query) = rest.split_once('?').unwrap_or((rest, ""));
        let view = View::ALL.into_iter().find(|known| known.slug() == view).unwrap_or_default();
        let mut route = Self { view, ..Self::default() };
        for (key, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            let Some(value) = decode(value).filter(|value| !value.is_empty()) else { continue };
            if key == "address" {
                route.address = Some(value);
                continue;
            }
            if view == View::Findings {
                match key {
                    "severity" => route.findings.severity = severity_of(&value),
                    "target" => route.findings.target = Some(value),
                    "rule" => route.findings.rule = value,
                    "layer" => route.findings.layer = value,
                    _ => {}
                }
                continue;
            }
            if view == View::Compare {
                match key {
                    "pair" => route.pair = Some(value),
                    "cause" => route.compare.cause = Some(value),
                    "q" => route.compare.text = value,
                    "sort" => route.compare.sort = value,
                    "open" => route.compare.unexplained = value == "1",
                    _ => {}
                }
                continue;
            }
            match key {
                "layer" => route.layer = Some(value),
                "scheme" => route.filter.scheme = Some(value),
                "kind" => route.filter.kind = Some(value),
                "rule" => route.filter.rule = Some(value),
                "q" => route.filter.text = value,
                "sort" => route.filter.sort = value,
                "found" => route.filter.with_findings = value == "1",
                "severity" => route.filter.severity = severity_of(&value),
                "least" => route.filter.at_least_bytes = value.parse().unwrap_or(0),
                "flat" => route.flat = value == "1",
                "toggled" => route.toggled.push(value),
                "at" if view == View::Overview => route.at = value,
                _ => {}
            }
        }
        route
    }
}

/// Percent-encodes everything but letters, digits and `-._~`.
pub(super) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// Undoes [`encode`]; `None` for a broken escape or bytes that are no text.
pub(super) fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let high = char::from(rest.next()?).to_digit(16)?;
            let low = char::from(rest.next()?).to_digit(16)?;
            bytes.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_where_the_user_is() {
        let route = Route {
            view: View::Layers,
            layer: Some("decoder.conv in&=%é".into()),
            filter: Filter {
                text: "conv*".into(),
                scheme: Some("nvfp4".into()),
                kind: None,
                with_findings: true,
                severity: Some(Severity::Error),
                at_least_bytes: 1 << 20,
                rule: Some("SH501".into()),
                sort: "-size".into(),
            },
            flat: true,
            toggled: vec!["layers.3+".into(), "a,b&c".into()],
            ..Route::default()
        };
        let fragment = "#/layers?layer=decoder.conv%20in%26%3D%25%C3%A9&scheme=nvfp4&rule=SH501&q=conv%2A&sort=-size&found=1&severity=error&least=1048576&flat=1&toggled=layers.3%2B&toggled=a%2Cb%26c";
        assert_eq!(route.fragment(), fragment);
        assert_eq!(Route::parse(fragment), route);
    }

    #[test]
    fn findings_have_filters_of_their_own() {
        let findings = FindingQuery {
            severity: Some(Severity::Warning),
            rule: "SN".into(),
            target: Some("vllm".into()),
            layer: "*.up_proj".into(),
        };
        let route = Route { view: View::Findings, findings, ..Route::default() };
        assert_eq!(route.fragment(), "#/findings?severity=warning&target=vllm&rule=SN&layer=%2A.up_proj");
        assert_eq!(Route::parse(&route.fragment()), route);
        // The way through another view and back loses nothing.
        let back = route.navigated(Route::parse("#/ties")).navigated(Route::parse("#/layers?q=a"));
        assert_eq!((back.view, back.filter.text.as_str()), (View::Layers, "a"));
        assert_eq!(back.findings, route.findings);
    }

    #[test]
    fn a_comparison_has_filters_of_its_own() {
        let compare = DifferenceQuery {
            text: "*.mlp".into(),
            cause: Some("quantized".into()),
            unexplained: true,
            sort: "-sqnr".into(),
        };
        let route = Route { view: View::Compare, compare, pair: Some("a.b".into()), ..Route::default() };
        assert_eq!(route.fragment(), "#/compare?pair=a.b&cause=quantized&q=%2A.mlp&sort=-sqnr&open=1");
        assert_eq!(Route::parse(&route.fragment()), route);
        // The way through other views and back loses nothing.
        let back = route.navigated(Route::parse("#/layers?q=a")).navigated(Route::parse("#/ties"));
        assert_eq!((&back.compare, &back.pair), (&route.compare, &route.pair));
        assert_eq!(back.navigated(Route::parse("#/compare")).compare, DifferenceQuery::default());
    }

    #[test]
    fn the_map_of_sizes_has_a_place_that_other_views_keep() {
        let route = Route { at: "model.layers.3".into(), ..Route::default() };
        assert_eq!(route.fragment(), "#/overview?at=model.layers.3");
        assert_eq!(Route::parse(&route.fragment()), route);
        let back = route.navigated(Route::parse("#/layers?flat=1")).navigated(Route::parse("#/ties"));
        assert_eq!((back.at.as_str(), back.flat), ("model.layers.3", true));
        assert_eq!(back.navigated(Route::parse("#/overview")).at, "");
    }

    #[test]
    fn what_is_not_understood_is_left_out() {
        assert_eq!(Route::parse(""), Route::default());
        assert_eq!(Route::parse("#/nowhere?x=1&layer"), Route::default());
        assert_eq!(Route::parse("#/ties?q=%zz&scheme=%F").view, View::Ties);
        assert_eq!(Route::parse("#/layers?q=%ff").filter.text, "");
    }

    #[test]
    fn filters_belong_to_the_layer_list() {
        let route = Route { view: View::Ties, layer: Some("a".into()), ..Route::default() };
        assert_eq!(route.fragment(), "#/ties");
    }

    #[test]
    fn a_heading_sorts_up_then_down_then_not() {
        let mut filter = Filter::default();
        for expected in ["size", "-size", "", "size"] {
            filter.sort = filter.next_sort("size");
            assert_eq!(filter.sort, expected);
        }
        assert_eq!(filter.next_sort("bits"), "bits");
    }
}
