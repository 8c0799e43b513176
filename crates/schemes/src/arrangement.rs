//! How the bytes of a matrix lie in a file, row by row or in tiles of 128 x 4, and taking them from one order into
//! the other piece by piece. Zeros fill what a larger arrangement has beyond the matrix.
//!
//! Source: `formats.md` f (padding and swizzling of the reference's exporter).

use std::ops::Range;

/// Rows of a tile.
pub(crate) const TILE_ROWS: u64 = 128;
/// Columns of a tile.
pub(crate) const TILE_COLS: u64 = 4;

/// Rows of bytes and the order in which they are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrangement {
    /// Rows, padding included.
    pub rows: u64,
    /// Bytes of a row, padding included.
    pub cols: u64,
    /// Whether they lie in tiles; then rows and columns are whole ones.
    pub is_tiled: bool,
}

/// Which sides are padded to multiples of 16.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    /// None.
    None,
    /// Rows.
    Row,
    /// Rows, and the bytes of a row: of codes and of scales on their own.
    RowCol,
}

/// How a packed layer lies in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackedForm {
    /// Leaf name of the codes, and how they lie.
    pub codes: (&'static str, Arrangement),
    /// Leaf name of the block scales, and how they lie.
    pub scales: (&'static str, Arrangement),
    /// Logical rows and columns, where the file tells what is padding; else those that the codes have.
    pub shape: [u64; 2],
    /// Whether the file tells that.
    pub is_shape_known: bool,
    /// Weights that share a block scale.
    pub block: u64,
}

/// Where the byte of a row and a column lies, in tiles over rows of `cols` bytes; saturating.
///
/// ```
/// use quantscope_schemes::tiled_offset;
/// assert_eq!([(0, 1), (1, 0), (32, 0), (0, 4), (128, 0)].map(|(r, c)| tiled_offset(r, c, 8)), [1, 16, 4, 512, 1024]);
/// ```
#[must_use]
pub fn tiled_offset(row: u64, col: u64, cols: u64) -> u64 {
    let tile = (row / TILE_ROWS).saturating_mul(cols / TILE_COLS).saturating_add(col / TILE_COLS);
    let within = (row % 32) * 16 + (row % TILE_ROWS / 32) * TILE_COLS + col % TILE_COLS;
    tile.saturating_mul(TILE_ROWS * TILE_COLS).saturating_add(within)
}

fn index(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

fn up(n: u64, multiple: u64) -> u64 {
    n.div_ceil(multiple).saturating_mul(multiple)
}

impl Arrangement {
    /// Row by row.
    #[must_use]
    pub const fn plain([rows, cols]: [u64; 2]) -> Self {
        Self { rows, cols, is_tiled: false }
    }

    /// With its sides padded. Tiles stay as they are: they are padded already.
    #[must_use]
    pub fn padded(self, padding: Padding) -> Self {
        match padding {
            _ if self.is_tiled => self,
            Padding::None => self,
            Padding::Row => Self { rows: up(self.rows, 16), ..self },
            Padding::RowCol => Self { rows: up(self.rows, 16), cols: up(self.cols, 16), ..self },
        }
    }

    /// In tiles, with whole ones.
    #[must_use]
    pub fn tiled(self) -> Self {
        Self { rows: up(self.rows, TILE_ROWS), cols: up(self.cols, TILE_COLS), is_tiled: true }
    }

    /// The bytes of it; `None` if they cannot be counted.
    #[must_use]
    pub fn len(self) -> Option<u64> {
        self.rows.checked_mul(self.cols)
    }

    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.rows == 0 || self.cols == 0
    }

    /// How scales stored as `sides` lie beside `rows` rows of `blocks` blocks: padded, in tiles or neither; `tiled`
    /// is what is known from elsewhere. Row by row where shapes do not tell.
    pub(crate) fn of_scales(sides: [u64; 2], [rows, blocks]: [u64; 2], tiled: Option<bool>) -> Option<Self> {
        let [high, wide] = sides;
        let plain = Self::plain(sides);
        let fits = |form: Self| wide == form.cols || wide == up(blocks, 16);
        let bare = Self::plain([rows, blocks]);
        let in_tiles = high == up(rows, TILE_ROWS) && fits(bare.tiled());
        // Codes and scales are padded alike, so that scales of more rows are tiles before they are padded rows.
        let in_rows = fits(bare) && (high == rows || high == up(rows, 16));
        let is_tiled = tiled.unwrap_or(in_tiles && !(in_rows && high == rows));
        let fits = if is_tiled { in_tiles } else { in_rows };
        fits.then_some(Self { is_tiled, ..plain })
    }

    /// Bytes that must be seen together: those of a band of tiles, one elsewhere. `None` if they cannot be counted.
    #[must_use]
    pub fn band(self) -> Option<u64> {
        if self.is_tiled { TILE_ROWS.checked_mul(self.cols) } else { Some(1) }
    }

    /// The rows that a reader takes at once: a band of tiles, or as many as `budget` bytes hold.
    #[must_use]
    pub fn rows_at_once(self, budget: u64) -> u64 {
        if self.is_tiled { TILE_ROWS } else { (budget / self.cols.max(1)).max(1) }
    }

    /// The bytes of rows that begin where [`Self::rows_at_once`] cuts; saturating.
    #[must_use]
    pub fn span(self, rows: &Range<u64>) -> Range<u64> {
        let end = if self.is_tiled { up(rows.end, TILE_ROWS).min(self.rows) } else { rows.end };
        rows.start.saturating_mul(self.cols)..end.saturating_mul(self.cols)
    }

    /// The first `cols` bytes of each of `rows` rows, row by row, out of the bytes of [`Self::span`]. What those
    /// lack is zero.
    #[must_use]
    pub fn row_by_row(self, bytes: &[u8], rows: u64, cols: u64) -> Vec<u8> {
        let (count, width) = (index(rows), index(cols.min(self.cols)));
        let mut out = vec![0; count.saturating_mul(index(cols))];
        for (r, line) in (0_u64..).zip(out.chunks_mut(index(cols).max(1))) {
            let line = line.get_mut(..width).unwrap_or_default();
            if self.is_tiled {
                for (c, byte) in (0_u64..).zip(line) {
                    *byte = bytes.get(index(tiled_offset(r, c, self.cols))).copied().unwrap_or(0);
                }
            } else {
                let start = index(r.saturating_mul(self.cols));
                let stored = bytes.get(start..start.saturating_add(width)).unwrap_or_default();
                for (byte, from) in line.iter_mut().zip(stored) {
                    *byte = *from;
                }
            }
        }
        out
    }
}

/// Takes a matrix row by row in pieces of any length, and gives the bytes of another arrangement in their order.
#[derive(Debug, Clone)]
pub struct Arranger {
    to: Arrangement,
    /// Bytes of a row as they come.
    cols: u64,
    /// Bytes of the row that is under way.
    in_row: u64,
    /// Rows that were given, whole ones and in tiles whole bands.
    given: u64,
    /// A band of tiles under way, row by row.
    waiting: Vec<u8>,
}

impl Arranger {
    /// For rows of `cols` bytes, no more than `to` has.
    #[must_use]
    pub fn new(cols: u64, to: Arrangement) -> Self {
        Self { to, cols: cols.min(to.cols), in_row: 0, given: 0, waiting: Vec::new() }
    }

    /// Takes the next bytes; answers those that they decide.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        if self.cols == 0 {
            return Vec::new();
        }
        if self.to.is_tiled { self.push_tiled(bytes) } else { self.push_plain(bytes) }
    }

    /// The end of the arrangement, in pieces of at most `budget` bytes or a band of tiles. Call it until it answers
    /// nothing.
    pub fn finish(&mut self, budget: usize) -> Vec<u8> {
        if !self.waiting.is_empty() {
            return self.take_band();
        }
        let left = self.to.rows.saturating_sub(self.given).saturating_mul(self.to.cols);
        let already = if self.given < self.to.rows { self.in_row } else { 0 };
        let piece = left.saturating_sub(already).min(u64::try_from(budget).unwrap_or(u64::MAX));
        if piece == 0 {
            return Vec::new();
        }
        let reached = already.saturating_add(piece);
        self.given = self.given.saturating_add(reached / self.to.cols.max(1));
        self.in_row = reached % self.to.cols.max(1);
        vec![0; index(piece)]
    }

    fn push_plain(&mut self, mut bytes: &[u8]) -> Vec<u8> {
        let padding = index(self.to.cols - self.cols);
        let mut out = Vec::with_capacity(bytes.len());
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(index(self.cols - self.in_row).min(bytes.len()));
            out.extend_from_slice(now);
            self.in_row += u64::try_from(now.len()).unwrap_or(u64::MAX);
            if self.in_row == self.cols {
                out.resize(out.len() + padding, 0);
                (self.in_row, self.given) = (0, self.given.saturating_add(1));
            }
            bytes = later;
        }
        out
    }

    fn push_tiled(&mut self, mut bytes: &[u8]) -> Vec<u8> {
        let band = index(self.cols.saturating_mul(TILE_ROWS));
        let mut out = Vec::new();
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(band.saturating_sub(self.waiting.len()).min(bytes.len()));
            self.waiting.extend_from_slice(now);
            if self.waiting.len() == band {
                out.extend(self.take_band());
            }
            bytes = later;
        }
        out
    }

    /// The band that waits, in tiles.
    fn take_band(&mut self) -> Vec<u8> {
        let mut out = vec![0; index(self.to.cols.saturating_mul(TILE_ROWS))];
        for (r, line) in (0_u64..).zip(self.waiting.chunks(index(self.cols).max(1))) {
            for (c, byte) in (0_u64..).zip(line) {
                if let Some(place) = out.get_mut(index(tiled_offset(r, c, self.to.cols))) {
                    *place = *byte;
                }
            }
        }
        self.waiting.clear();
        self.given = self.given.saturating_add(TILE_ROWS);
        out
    }
}
