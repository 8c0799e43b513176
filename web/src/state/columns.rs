//! The columns of the layer list, and which of them people have chosen.

/// A column beside the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Column {
    /// Scheme.
    Scheme,
    /// Kind of layer.
    Kind,
    /// Logical shape; of a module how many layers are in it.
    Shape,
    /// Logical weights.
    Weights,
    /// Bits per weight.
    Bits,
    /// Stored bytes.
    Size,
    /// The worst finding.
    Findings,
}

impl Column {
    /// All of them, from left to right.
    pub(crate) const ALL: [Self; 7] =
        [Self::Scheme, Self::Kind, Self::Shape, Self::Weights, Self::Bits, Self::Size, Self::Findings];

    /// Its word, which sorts by it, too, where it can be sorted by.
    pub(crate) fn slug(self) -> &'static str {
        match self {
            Self::Scheme => "scheme",
            Self::Kind => "kind",
            Self::Shape => "shape",
            Self::Weights => "weights",
            Self::Bits => "bits",
            Self::Size => "size",
            Self::Findings => "findings",
        }
    }

    /// Its classes in the style sheet.
    pub(crate) fn class(self) -> &'static str {
        match self {
            Self::Scheme => "c-scheme",
            Self::Kind => "c-kind",
            Self::Shape => "c-shape",
            Self::Weights => "c-weights n",
            Self::Bits => "c-bits n",
            Self::Size => "c-size n",
            Self::Findings => "c-findings",
        }
    }

    /// Its heading.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Scheme => "Scheme",
            Self::Kind => "Kind",
            Self::Shape => "Shape",
            Self::Weights => "Weights",
            Self::Bits => "Bits",
            Self::Size => "Size",
            Self::Findings => "Found",
        }
    }

    /// Whether rows can be put in its order. Modules have no one scheme and no one kind.
    pub(crate) fn sorts(self, flat: bool) -> bool {
        match self {
            Self::Shape => false,
            Self::Scheme | Self::Kind => flat,
            Self::Weights | Self::Bits | Self::Size | Self::Findings => true,
        }
    }
}

/// Columns in sight, in the order of [`Column::ALL`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Columns(Vec<Column>);

impl Default for Columns {
    fn default() -> Self {
        Self(vec![Column::Scheme, Column::Shape, Column::Bits, Column::Size, Column::Findings])
    }
}

impl Columns {
    /// Reads what [`Self::text`] wrote; what is not understood is left out.
    pub(crate) fn parse(text: &str) -> Self {
        let words: Vec<&str> = text.split(' ').collect();
        Self(Column::ALL.into_iter().filter(|column| words.contains(&column.slug())).collect())
    }

    /// As one line.
    pub(crate) fn text(&self) -> String {
        self.0.iter().map(|column| column.slug()).collect::<Vec<_>>().join(" ")
    }

    /// Whether a column is in sight.
    pub(crate) fn has(&self, column: Column) -> bool {
        self.0.contains(&column)
    }

    /// The same with a column more, or less.
    pub(crate) fn toggled(&self, column: Column) -> Self {
        let kept = |known: &Column| self.has(*known) != (*known == column);
        Self(Column::ALL.into_iter().filter(kept).collect())
    }

    /// From left to right.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Column> + '_ {
        self.0.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_keep_their_order_and_survive_what_is_not_understood() {
        let columns = Columns::default().toggled(Column::Kind).toggled(Column::Size);
        assert_eq!(columns.text(), "scheme kind shape bits findings");
        assert_eq!(Columns::parse(&columns.text()), columns);
        assert_eq!(Columns::parse("bits nothing  scheme bits").text(), "scheme bits");
        assert_eq!(Columns::parse("").iter().count(), 0);
    }
}
