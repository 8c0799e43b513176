struct Params {
    cols: u32,
    row_blocks: u32,
    block_count: u32,
    block: u32,
    narrow: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> source: array<u32>;
@group(0) @binding(2) var<storage, read> scales: array<u32>;
@group(0) @binding(3) var<storage, read> code_last: array<vec4<i32>>;
@group(0) @binding(4) var<storage, read_write> codes: array<u32>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let word = flat_invocation(group, groups, local);
    let block_words = params.block >> 3u;
    let block = word / block_words;
    if block >= params.block_count {
        return;
    }
    let row = block / params.row_blocks;
    let col = (block % params.row_blocks) * params.block + (word % block_words) * 8u;
    let scale = (scales[block >> 2u] >> ((block & 3u) * 8u)) & 0x7fu;
    let low = code_last[2u * scale];
    let high = code_last[2u * scale + 1u];
    var packed = 0u;
    for (var e = 0u; e < 8u; e = e + 1u) {
        var pattern = 0u;
        if col + e < params.cols {
            pattern = element(row * params.cols + col + e);
        }
        packed |= code(pattern, low, high) << (e * 4u);
    }
    codes[word] = packed;
}
