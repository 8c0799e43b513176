// The scale that governs an element, in kernels whose parameters tell of a grid and whose buffer `scales`
// holds it.

fn scale_of(element: u32) -> u32 {
    let row = (params.first_row + element / params.cols) / params.block_rows;
    let col = (params.first_col + element % params.cols) / params.block_cols;
    return scales[row * params.scale_cols + col];
}
