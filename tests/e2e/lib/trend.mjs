// Whether a measure grows: a straight line through its samples, by least squares.

/**
 * The line through samples `[when, how much]` after the first `warmUp`, a part of the whole time: what it grows by
 * over that time, and the mean. Nothing if fewer than ten samples are left.
 */
export function line(samples, warmUp) {
  if (samples.length === 0) return null;
  const [first, last] = [samples[0][0], samples.at(-1)[0]];
  const kept = samples.filter(([at]) => at >= first + (last - first) * warmUp);
  if (kept.length < 10) return null;
  const mean = (place) => kept.reduce((sum, sample) => sum + sample[place], 0) / kept.length;
  const [meanAt, meanOf] = [mean(0), mean(1)];
  const spread = kept.reduce((sum, [at]) => sum + (at - meanAt) ** 2, 0);
  const common = kept.reduce((sum, [at, value]) => sum + (at - meanAt) * (value - meanOf), 0);
  return { growth: (common / spread) * (kept.at(-1)[0] - kept[0][0]), mean: meanOf };
}
