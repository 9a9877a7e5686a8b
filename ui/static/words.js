// How numbers and jobs are put into words.

export function duration(seconds) {
  if (!Number.isFinite(seconds)) return "";
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, "0")} s`;
  return `${Math.floor(whole / 3600)} h ${String(Math.floor((whole % 3600) / 60)).padStart(2, "0")} min`;
}

/** How long it is until something that was only estimated. */
export function about(seconds) {
  if (seconds < 10) return "a few seconds";
  if (seconds < 90) return `about ${Math.round(seconds / 10) * 10} s`;
  return seconds < 5400 ? `about ${Math.round(seconds / 60)} min` : `about ${Math.round(seconds / 3600)} h`;
}

export function speed(rate) {
  if (!(rate > 0)) return "";
  return rate >= 1 ? `${rate.toFixed(rate < 10 ? 1 : 0)} it/s` : `${(1 / rate).toFixed(1)} s/it`;
}

/** Bytes, in the units that file managers and the hub use. */
export function bytes(count) {
  if (!(count >= 0)) return "";
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  let value = count;
  let unit = 0;
  for (; value >= 999.5 && unit < units.length - 1; unit++) value /= 1000;
  return `${value.toFixed(unit && value < 9.95 ? 1 : 0)} ${units[unit]}`;
}

/** How long a swap to a checkpoint takes. */
export function swapTime(seconds) {
  if (seconds === null || seconds === undefined) return "";
  if (seconds < 0.95) return `${Math.max(0.1, seconds).toFixed(1)} s`;
  return seconds < 90 ? `~${Math.round(seconds)} s` : `~${Math.round(seconds / 60)} min`;
}

export function size(thing) {
  return `${thing.width} × ${thing.height}`;
}

export function summary(job) {
  // What only enlarges has no steps, and may not know its size yet.
  const steps = job.steps && `${job.steps} ${job.steps === 1 ? "step" : "steps"}`;
  const parts = [job.width && job.height && size(job), steps, job.sampler].filter(Boolean);
  if (!parts.length && job.count === 1) parts.push("1 picture");
  if (job.count > 1) parts.push(`${job.count} pictures`);
  return parts.join(" · ");
}

export function promptOf(job) {
  return job.prompt.trim() || "No prompt";
}
