//! Findings kept small: a checkpoint of a million faults has a million of them, and they say much the same.
//!
//! Texts are kept once and named by number. A subject mostly begins with the name of the layer it touches, a message
//! mostly quotes the subject: of both only what stands around that is kept. A finding is made whole again when it is
//! looked at.

use crate::report::{Finding, Severity};
use crate::texts::{Around, Texts};
use quantscope_format::{Arrange as _, natural_cmp};
use serde::ser::{Serialize, SerializeStruct as _, Serializer};

/// One finding, its texts by their numbers.
#[derive(Debug, Clone, Copy)]
struct Kept {
    severity: Severity,
    repairable: bool,
    rule: u32,
    fix: u32,
    /// Around the first layer.
    subject: Around,
    /// Around the subject.
    message: Around,
    file: Option<u32>,
    expected: Option<u32>,
    found: Option<u32>,
    target: Option<u32>,
    /// Where its layers begin in the list of all, and how many they are.
    layers: (u32, u32),
}

/// Findings in an order.
#[derive(Debug, Clone, Default)]
pub struct Findings {
    texts: Texts,
    kept: Vec<Kept>,
    /// Names of layers, as each finding lists them.
    layers: Vec<u32>,
}

/// One of them, to be looked at.
#[derive(Debug, Clone, Copy)]
pub struct FindingView<'a> {
    all: &'a Findings,
    kept: &'a Kept,
}

fn count(of: usize) -> u32 {
    u32::try_from(of).unwrap_or(u32::MAX)
}

impl Findings {
    /// How many they are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Adds one.
    pub fn push(&mut self, finding: Finding) {
        let Finding {
            rule,
            severity,
            subject,
            file,
            message,
            expected,
            found,
            fix,
            repairable,
            target,
            layers,
        } = finding;
        // Its neighbour mostly has the same texts.
        let near = self.kept.last().copied();
        let texts = &mut self.texts;
        let mut number =
            |text: &str, of: fn(&Kept) -> Option<u32>| texts.number(text, near.as_ref().and_then(of));
        let mut maybe = |text: Option<String>, of| text.map(|text| number(&text, of));
        let (file, expected) = (maybe(file, |near| near.file), maybe(expected, |near| near.expected));
        let (found, target) = (maybe(found, |near| near.found), maybe(target, |near| near.target));
        let rule = number(&rule, |near| Some(near.rule));
        let fix = number(&fix, |near| Some(near.fix));
        let first = layers.first().map_or("", String::as_str);
        let around_layer = texts.around(&subject, first, near.map(|near| near.subject));
        let message = texts.around(&message, &subject, near.map(|near| near.message));
        let own = (count(self.layers.len()), count(layers.len()));
        self.layers.extend(layers.iter().map(|layer| texts.number(layer, None)));
        self.kept.push(Kept {
            severity,
            repairable,
            rule,
            fix,
            subject: around_layer,
            message,
            file,
            expected,
            found,
            target,
            layers: own,
        });
    }

    /// All of them, in their order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = FindingView<'_>> + Clone {
        self.kept.iter().map(|kept| FindingView { all: self, kept })
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<FindingView<'_>> {
        self.kept.get(index).map(|kept| FindingView { all: self, kept })
    }

    /// All of them, whole.
    #[must_use]
    pub fn to_vec(&self) -> Vec<Finding> {
        self.iter().map(|finding| finding.to_finding()).collect()
    }

    /// Leaves out those of some rules.
    pub fn leave_out(&mut self, rules: &[&str]) {
        let Self { texts, kept, .. } = self;
        kept.retain(|kept| !rules.contains(&texts.get(kept.rule)));
    }

    /// Says of which runtime those are that came after the first `from`.
    pub(crate) fn aim(&mut self, from: usize, target: &str) {
        let target = self.texts.number(target, None);
        for kept in self.kept.iter_mut().skip(from) {
            kept.target = Some(target);
        }
    }

    /// Orders them by severity, then rule, then runtime, then subject, subjects in natural order.
    pub fn sort(&mut self) {
        let Self { texts, kept, layers } = self;
        let (mut left, mut right) = (String::new(), String::new());
        kept.arrange_by(|a, b| {
            let text = |number: Option<u32>| number.map(|number| texts.get(number));
            let grave = a.severity.cmp(&b.severity);
            let rule = || text(Some(a.rule)).cmp(&text(Some(b.rule)));
            let target = || text(a.target).cmp(&text(b.target));
            grave.then_with(rule).then_with(target).then_with(|| {
                for (kept, subject) in [(a, &mut left), (b, &mut right)] {
                    subject.clear();
                    texts.write(kept.subject, first_layer(texts, layers, kept), subject);
                }
                natural_cmp(&left, &right)
            })
        });
    }
}

impl Extend<Finding> for Findings {
    fn extend<I: IntoIterator<Item = Finding>>(&mut self, findings: I) {
        for finding in findings {
            self.push(finding);
        }
    }
}

impl PartialEq for Findings {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len()
            && self.iter().zip(other.iter()).all(|(a, b)| a.to_finding() == b.to_finding())
    }
}

impl Eq for Findings {}

fn first_layer<'a>(texts: &'a Texts, layers: &[u32], kept: &Kept) -> &'a str {
    let (begin, count) = kept.layers;
    let first = layers.get(begin as usize).filter(|_| count > 0);
    first.map_or("", |number| texts.get(*number))
}

impl<'a> FindingView<'a> {
    fn text(&self, number: Option<u32>) -> Option<&'a str> {
        number.map(|number| self.all.texts.get(number))
    }

    /// Rule id, such as `SC002`.
    #[must_use]
    pub fn rule(&self) -> &'a str {
        self.all.texts.get(self.kept.rule)
    }

    /// Severity.
    #[must_use]
    pub fn severity(&self) -> Severity {
        self.kept.severity
    }

    /// The runtime that it is about, where one was asked for.
    #[must_use]
    pub fn target(&self) -> Option<&'a str> {
        self.text(self.kept.target)
    }

    /// Layer, tensor, file or config field that it is about.
    #[must_use]
    pub fn subject(&self) -> String {
        let mut text = String::new();
        let first = first_layer(&self.all.texts, &self.all.layers, self.kept);
        self.all.texts.write(self.kept.subject, first, &mut text);
        text
    }

    /// Layers it touches.
    pub fn layers(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let (begin, count) = self.kept.layers;
        let begin = begin as usize;
        let own = self.all.layers.get(begin..begin.saturating_add(count as usize)).unwrap_or_default();
        let texts = &self.all.texts;
        own.iter().map(|number| texts.get(*number))
    }

    fn message(&self, subject: &str) -> String {
        let mut text = String::new();
        self.all.texts.write(self.kept.message, subject, &mut text);
        text
    }

    /// The finding, whole.
    #[must_use]
    pub fn to_finding(&self) -> Finding {
        let owned = |number| self.text(number).map(str::to_owned);
        let subject = self.subject();
        Finding {
            rule: self.rule().to_owned(),
            severity: self.kept.severity,
            file: owned(self.kept.file),
            message: self.message(&subject),
            subject,
            expected: owned(self.kept.expected),
            found: owned(self.kept.found),
            fix: self.all.texts.get(self.kept.fix).to_owned().into(),
            repairable: self.kept.repairable,
            target: owned(self.kept.target),
            layers: self.layers().map(str::to_owned).collect(),
        }
    }
}

/// As the JSON contract has it: the layers that a finding touches are for jumping within a session.
impl Serialize for FindingView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (kept, subject, target) = (self.kept, self.subject(), self.target());
        let mut fields = serializer.serialize_struct("Finding", 9 + usize::from(target.is_some()))?;
        fields.serialize_field("rule", self.rule())?;
        fields.serialize_field("severity", &kept.severity)?;
        fields.serialize_field("subject", &subject)?;
        fields.serialize_field("file", &self.text(kept.file))?;
        fields.serialize_field("message", &self.message(&subject))?;
        fields.serialize_field("expected", &self.text(kept.expected))?;
        fields.serialize_field("found", &self.text(kept.found))?;
        fields.serialize_field("fix", self.all.texts.get(kept.fix))?;
        fields.serialize_field("repairable", &kept.repairable)?;
        match target {
            Some(target) => fields.serialize_field("target", target)?,
            None => fields.skip_field("target")?,
        }
        fields.end()
    }
}

#[cfg(test)]
mod tests {
    use super::Findings;
    use crate::report::{Finding, Severity};
    use quantscope_format::natural_cmp;

    /// Findings of few texts, in all combinations: such as quote each other, and such as do not.
    fn many() -> Vec<Finding> {
        let texts = ["", "a.10", "a.2", "a.2.weight", "`a.2.weight` of a.2 is é", "a.10.a.10"];
        let maybe = [None, Some("x".to_owned()), Some("a.2".to_owned())];
        let mut all = Vec::new();
        for (i, subject) in (0_usize..).zip(texts) {
            for (j, message) in (0_usize..).zip(texts) {
                for (k, layer) in (0_usize..).zip(texts) {
                    let text = |at: usize| maybe[at % maybe.len()].clone();
                    all.push(Finding {
                        rule: ["B", "A"][(i + j) % 2].into(),
                        severity: [Severity::Info, Severity::Error, Severity::Warning][k % 3],
                        subject: subject.into(),
                        file: text(i + k),
                        message: message.into(),
                        expected: text(j),
                        found: text(j + k),
                        fix: ["do", "leave"][k % 2].into(),
                        repairable: i > j,
                        target: text(i),
                        layers: [layer, subject, "other"][..k % 4]
                            .iter()
                            .map(|name| (*name).into())
                            .collect(),
                    });
                }
            }
        }
        all
    }

    #[test]
    fn findings_come_out_as_they_went_in() {
        let mut expected = many();
        let mut kept = Findings::default();
        kept.extend(expected.clone());
        assert_eq!(kept.to_vec(), expected);
        expected.retain(|finding| finding.rule != "A");
        kept.leave_out(&["A", "C"]);
        assert_eq!(kept.to_vec(), expected);
        for finding in &mut expected[7..] {
            finding.target = Some("runtime".into());
        }
        kept.aim(7, "runtime");
        assert_eq!(kept.to_vec(), expected);
        assert!(kept.get(expected.len()).is_none());
        let views = kept.iter().map(|view| (view.rule(), view.severity(), view.subject(), view.target()));
        let whole =
            expected.iter().map(|f| (f.rule.as_str(), f.severity, f.subject.clone(), f.target.as_deref()));
        assert!(views.eq(whole));
    }

    #[test]
    fn they_are_sorted_as_whole_ones_are() {
        let mut expected = many();
        let mut kept = Findings::default();
        kept.extend(expected.clone());
        kept.sort();
        expected.sort_by(|a, b| {
            let key = |f: &Finding| (f.severity, f.rule.clone(), f.target.clone());
            key(a).cmp(&key(b)).then_with(|| natural_cmp(&a.subject, &b.subject))
        });
        assert_eq!(kept.to_vec(), expected);
    }

    /// What the contract says of a finding is what a whole one says without its layers.
    #[test]
    fn they_are_written_as_whole_ones_are() {
        let mut kept = Findings::default();
        kept.extend(many());
        for view in kept.iter() {
            let whole = Finding { layers: Vec::new(), ..view.to_finding() };
            assert_eq!(serde_json::to_string(&view).unwrap(), serde_json::to_string(&whole).unwrap());
        }
    }
}
