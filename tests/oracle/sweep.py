"""The searches of static NVFP4: 126 scales for each block, or four over six. Each answers block maxima."""

import numpy as np

from elements import E2M1_MAGNITUDES, F32, e2m1_nearest_even, e4m3_from_f32, f32_from_e4m3


def _losses(magnitudes, scales):
    """Sums of squared errors over each block, in F64 and index order; errors and squares in F32."""
    ratio = (magnitudes / scales[..., None]).astype(F32)
    rounded = (E2M1_MAGNITUDES[e2m1_nearest_even(ratio) & 7] * scales[..., None]).astype(F32)
    error = (magnitudes - rounded).astype(F32)
    squares = (error * error).astype(F32).astype(np.float64)
    total = np.zeros(magnitudes.shape[:-1])
    for index in range(magnitudes.shape[-1]):
        total = total + squares[..., index]
    return total


def candidate_losses(magnitudes, largest):
    """Losses of the 126 candidates for each block [.., 16], along a new first axis."""
    losses = []
    for byte in range(1, 127):
        part = F32(f32_from_e4m3(np.array([byte], np.uint8))[0] / F32(448))
        scale = F32(F32(part * largest) / F32(6))
        scale = scale if scale != 0 else F32(1)
        losses.append(_losses(magnitudes, np.full(magnitudes.shape[:-1], scale, F32)))
    return np.stack(losses)


def best_maxima(magnitudes, largest):
    """The maximum that stands for the best candidate of each block; the lowest of equals."""
    best = candidate_losses(magnitudes, F32(largest)).argmin(0)
    part = (f32_from_e4m3((best + 1).astype(np.uint8)) / F32(448)).astype(F32)
    return (F32(largest) * part).astype(F32)


def near_ties(magnitudes, largest, relative=1e-6):
    """Blocks whose two best losses lie so close that the order of summation decides; exact ties are not."""
    ordered = np.sort(candidate_losses(magnitudes, F32(largest)), axis=0)
    first, second = ordered[0], ordered[1]
    return (second > first) & (second - first <= relative * second)


def four_over_six(magnitudes, maxima, largest):
    """Each block's maximum, or 1.5 times it where that loses strictly less."""
    with np.errstate(all="ignore"):
        reach = F32(F32(F32(largest) * F32(448)) / F32(256))
        step = F32(F32(448) / F32(reach / F32(6)))
        losses, widened = [], []
        for factor in (1.0, 1.5):
            amax = (maxima * F32(factor)).astype(F32)
            scaled = ((amax / F32(6)).astype(F32) * step).astype(F32)
            code = e4m3_from_f32(np.clip(scaled, F32(-448), F32(448)))
            scale = (f32_from_e4m3(code) * F32(F32(1) / step)).astype(F32)
            losses.append(_losses(magnitudes, np.where(scale == 0, F32(1), scale)))
            widened.append(amax)
    return np.where(losses[1] < losses[0], widened[1], widened[0])
