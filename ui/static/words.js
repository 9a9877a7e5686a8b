// How numbers and jobs are put into words.

export function duration(seconds) {
  if (!Number.isFinite(seconds)) return "";
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, "0")} s`;
  return `${Math.floor(whole / 3600)} h ${String(Math.floor((whole % 3600) / 60)).padStart(2, "0")} min`;
}

export function speed(rate) {
  if (!(rate > 0)) return "";
  return rate >= 1 ? `${rate.toFixed(rate < 10 ? 1 : 0)} it/s` : `${(1 / rate).toFixed(1)} s/it`;
}

export function size(thing) {
  return `${thing.width} × ${thing.height}`;
}

export function summary(job) {
  const parts = [size(job), `${job.steps} ${job.steps === 1 ? "step" : "steps"}`, job.sampler];
  if (job.count > 1) parts.push(`${job.count} pictures`);
  return parts.join(" · ");
}

export function promptOf(job) {
  return job.prompt.trim() || "No prompt";
}
