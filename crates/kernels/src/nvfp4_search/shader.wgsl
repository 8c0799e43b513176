struct Params {
    cols: u32,
    row_blocks: u32,
    block_count: u32,
    dtype: u32,
    four_over_six: u32,
    global_bits: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> source: array<u32>;
@group(0) @binding(2) var<storage, read> divisors: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read> amax_last: array<i32>;
@group(0) @binding(4) var<storage, read_write> ranges: array<u32>;

// What the sixteen invocations of a block share; one entry for each block of the workgroup.
var<workgroup> weights: array<f32, WORKGROUP_SIZE>;
var<workgroup> amax: array<atomic<u32>, BLOCKS_PER_GROUP>;
var<workgroup> least: array<atomic<u32>, BLOCKS_PER_GROUP>;
var<workgroup> first: array<atomic<u32>, BLOCKS_PER_GROUP>;
var<workgroup> last: array<atomic<u32>, BLOCKS_PER_GROUP>;

// The byte that a multiple of the block's maximum is rounded to in four-over-six.
fn byte_of(multiple: u32, largest: i32) -> u32 {
    var below = 0u;
    for (var step = 64u; step > 0u; step = step >> 1u) {
        if largest > amax_last[128u * multiple + below + step] {
            below = below + step;
        }
    }
    return below;
}

// Sum of the squares of the errors under a divisor and its reciprocal.
fn loss_of(at: u32, divisor: vec2<f32>) -> f32 {
    var sum = 0.0;
    for (var e = 0u; e < BLOCK; e = e + 1u) {
        let weight = weights[at + e];
        let ratio = min(weight * divisor.y, 6.0);
        var rounded = round(ratio * 2.0) * 0.5;
        if ratio >= 2.0 {
            rounded = round(ratio);
        }
        if ratio >= 4.0 {
            rounded = round(ratio * 0.5) * 2.0;
        }
        let error = weight - rounded * divisor.x;
        sum = sum + error * error;
    }
    return sum;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let slot = local / LANES;
    let lane = local % LANES;
    let block = flat_group(group, groups) * BLOCKS_PER_GROUP + slot;
    let is_block = block < params.block_count;

    // Each invocation loads one element.
    var bits = 0u;
    let col = (block % params.row_blocks) * BLOCK + lane;
    if is_block && col < params.cols {
        bits = source_f32((block / params.row_blocks) * params.cols + col) & MAGNITUDE;
    }
    weights[local] = bitcast<f32>(bits);
    if lane == 0u {
        atomicStore(&least[slot], 0x7f800000u);
        atomicStore(&first[slot], 0xffu);
    }
    workgroupBarrier();
    atomicMax(&amax[slot], bits);
    workgroupBarrier();

    // Each invocation tries some of the candidates. Losses are not negative, so they grow with their
    // patterns.
    let largest = atomicLoad(&amax[slot]);
    let at = slot * LANES;
    var losses: array<u32, CANDIDATES_PER_LANE>;
    var lane_least = 0x7f800000u;
    for (var i = 0u; i < CANDIDATES_PER_LANE; i = i + 1u) {
        let number = i * LANES + lane;
        var loss = 0x7f800000u;
        if params.four_over_six == 0u {
            if number >= 1u && number <= 126u {
                loss = bitcast<u32>(loss_of(at, divisors[number]));
            }
        } else if number == 1u || number == 2u {
            loss = bitcast<u32>(loss_of(at, divisors[byte_of(number - 1u, i32(largest))]));
        }
        losses[i] = loss;
        lane_least = min(lane_least, loss);
    }
    atomicMin(&least[slot], lane_least);
    workgroupBarrier();

    let best = bitcast<f32>(atomicLoad(&least[slot]));
    var energy = 0.0;
    for (var e = 0u; e < BLOCK; e = e + 1u) {
        energy = energy + weights[at + e] * weights[at + e];
    }
    let slack = bitcast<f32>(LOSS_SLACK_BITS) * best
        + bitcast<f32>(ROOT_SLACK_BITS) * (sqrt(best) * sqrt(energy))
        + bitcast<f32>(ENERGY_SLACK_BITS) * energy;
    let limit = bitcast<u32>(best + slack);
    for (var i = 0u; i < CANDIDATES_PER_LANE; i = i + 1u) {
        if losses[i] <= limit {
            atomicMin(&first[slot], i * LANES + lane);
            atomicMax(&last[slot], i * LANES + lane);
        }
    }
    workgroupBarrier();

    if is_block && lane == 0u {
        var range = atomicLoad(&first[slot]) | (atomicLoad(&last[slot]) << 8u);
        if largest > params.global_bits || atomicLoad(&least[slot]) < LEAST_LOSS_BITS {
            range = WHOLE;
        }
        ranges[block] = range;
    }
}
