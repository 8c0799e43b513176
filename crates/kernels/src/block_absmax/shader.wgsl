struct Params {
    rows: u32,
    cols: u32,
    block_rows: u32,
    block_cols: u32,
    first_row: u32,
    first_col: u32,
    col_blocks: u32,
    narrow: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> source: array<u32>;
@group(0) @binding(2) var<storage, read_write> maxima: array<atomic<u32>>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let row_runs = (params.cols + RUN - 1u) / RUN;
    let invocation = flat_invocation(group, groups, local);
    let row = invocation / row_runs;
    if row >= params.rows {
        return;
    }
    let first = row * params.cols;
    let begin = (invocation % row_runs) * RUN;
    let end = min(begin + RUN, params.cols);
    let first_block = ((params.first_row + row) / params.block_rows) * params.col_blocks;
    // The first block may begin before the part.
    var block = (params.first_col + begin) / params.block_cols;
    var block_end = (block + 1u) * params.block_cols - params.first_col;
    var largest = 0;
    for (var col = begin; col < end; col = col + 1u) {
        if col == block_end {
            atomicMax(&maxima[first_block + block], u32(largest));
            largest = 0;
            block = block + 1u;
            block_end = block_end + params.block_cols;
        }
        largest = max(largest, magnitude(element(first + col)));
    }
    atomicMax(&maxima[first_block + block], u32(largest));
}
