struct Params {
    element_count: u32,
    dtype: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> source: array<u32>;
@group(0) @binding(2) var<storage, read> decoded: array<u32>;
@group(0) @binding(3) var<storage, read_write> metrics: array<atomic<u32>>;

// Sums of the lower and of the upper halves of squares, by exponent: first the signal's, then the error's.
var<workgroup> group_low: array<atomic<u32>, ERRORS_AT>;
var<workgroup> group_high: array<atomic<u32>, ERRORS_AT>;

// Adds the square of the leading 16 bits of a finite magnitude to the sums of its exponent.
fn add_square(at: u32, magnitude: u32) {
    if magnitude == 0u {
        return;
    }
    let p = f32_parts(magnitude);
    let leading = p.significand >> 8u;
    let square = leading * leading;
    let exponent = at + u32(p.exponent + 22);
    atomicAdd(&group_low[exponent], square & 0xffffu);
    atomicAdd(&group_high[exponent], square >> 16u);
}

// Adds a number of two words to one that all workgroups share. Whoever takes the low word past its end
// carries, so the pair is right once all have added.
fn add_pair(at: u32, low: u32, high: u32) {
    let before = atomicAdd(&metrics[at], low);
    let carried = high + select(0u, 1u, before > ~low);
    if carried != 0u {
        atomicAdd(&metrics[at + 1u], carried);
    }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let first = flat_group(group, groups) * WORKGROUP_SIZE * ELEMENTS_PER_INVOCATION + local;
    var max_abs = 0u;
    var not_finite = 0u;
    for (var i = 0u; i < ELEMENTS_PER_INVOCATION; i = i + 1u) {
        let index = first + i * WORKGROUP_SIZE;
        if index < params.element_count {
            let value = source_f32(index);
            let difference = f32_sub(value, decoded[index]) & MAGNITUDE;
            if difference >= INFINITY {
                not_finite = not_finite + 1u;
            } else {
                max_abs = max(max_abs, difference);
                add_square(0u, value & MAGNITUDE);
                add_square(EXPONENTS, difference);
            }
        }
    }
    if max_abs != 0u {
        atomicMax(&metrics[MAX_ABS_AT], max_abs);
    }
    if not_finite != 0u {
        atomicAdd(&metrics[NOT_FINITE_AT], not_finite);
    }
    workgroupBarrier();
    for (var e = local; e < ERRORS_AT; e = e + WORKGROUP_SIZE) {
        let low = atomicLoad(&group_low[e]);
        let high = atomicLoad(&group_high[e]);
        if (low | high) != 0u {
            let sum = low + (high << 16u);
            let carry = select(0u, 1u, sum < low);
            add_pair(2u * e, sum, (high >> 16u) + carry);
        }
    }
}
