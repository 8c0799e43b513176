//! Walking a tile in blocks of elements along its rows, the last block of a row padded with zeros.

use crate::element::Element;
use crate::engine::FloatTile;

/// Calls `work` with runs of neighbouring blocks: `count` of them in all, from the tile's block
/// `first_block` on. A block is `CHUNKS` chunks of sixteen elements. `work` is told how many blocks came
/// before. The tile has been checked and has as many blocks.
#[inline(always)]
pub(crate) fn runs<E: Element, const CHUNKS: usize>(
    tile: &FloatTile<'_>,
    first_block: usize,
    count: usize,
    mut work: impl FnMut(usize, &[[E::Block; CHUNKS]]),
) {
    let block_bytes = CHUNKS * 16 * E::BYTES;
    // Rows of whole blocks follow one another as if they were one.
    let row_bytes = match tile.cols as usize * E::BYTES {
        row_bytes if row_bytes % block_bytes == 0 => tile.bytes.len(),
        row_bytes => row_bytes,
    };
    let row_blocks = row_bytes.div_ceil(block_bytes).max(1);
    let (mut row, mut block) = (first_block / row_blocks, first_block % row_blocks);
    let mut done = 0;
    while done < count {
        // From `block` to the end of the row, or as far as is asked for.
        let begin = row * row_bytes + block * block_bytes;
        let source = tile.bytes.get(begin..(row + 1) * row_bytes).unwrap_or_default();
        let here = (count - done).min(row_blocks - block);
        let (chunks, rest) = E::blocks(source);
        let (whole, odd) = chunks.as_chunks::<CHUNKS>();
        let whole = whole.get(..here).unwrap_or(whole);
        work(done, whole);
        if whole.len() < here {
            // One block that the row fills in part.
            let mut last = [E::padded(&[]); CHUNKS];
            let filled = odd.iter().copied().chain(std::iter::once(E::padded(rest)));
            for (chunk, filled) in last.iter_mut().zip(filled) {
                *chunk = filled;
            }
            work(done + whole.len(), &[last]);
        }
        done += here;
        (row, block) = (row + 1, 0);
    }
}
