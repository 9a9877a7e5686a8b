// The types of Atelier's interface for programs, /api/v2.
// Made from its OpenAPI document by: python -m backend.server.jobs_api.typescript

/** The area to generate, in the picture's own pixels; what lies outside the picture is outpainting. */
export interface Box {
  /** Left of the box */
  left: number;
  /** Top of the box */
  top: number;
  /** Width of the box */
  width: number;
  /** Height of the box */
  height: number;
}

/** The last event of a job. */
export interface EndedView {
  type: "finished" | "interrupted" | "failed";
  /** Of a failed job a word for the fault; else empty. */
  error: string;
  /** Of a failed job why, in one sentence; else empty. */
  message: string;
}

/** One message of a stream: `data` is an `EventView` as JSON, `id` is what Last-Event-ID repeats. */
export interface EventMessage {
  data: string;
  event: string;
  id?: string;
}

export type EventView = QueuedView | StartedView | LoadingView | NoticeView | StepView | MadeView | EndedView;

/** The extensions that are on, in the order of their turns. */
export interface ExtensionList {
  extensions: Array<ExtensionView>;
}

/** An extension that is on. */
export interface ExtensionView {
  /** What `extras` of a request call it. */
  id: string;
  title: string;
  version: string;
  /** The tabs of the page in which its parameters stand. */
  tabs: Array<string>;
  /** The JSON schema of its values in `extras`; nothing where it has none and takes part by itself. */
  parameters: { [name: string]: unknown } | null;
}

/**
 * What to make. Frozen: whoever wants another one makes it with `dataclasses.replace`.
 * Widths and heights are pixels; `seed` -1 means "choose one", which happens once, at the door (`resolved`).
 * `checkpoint` is the name in the catalog; empty means the one that the settings name, else the starter, else the
 * first. `vae` is a name in the catalog too, or `AUTOMATIC_VAE`, which is decided at the door (and stays
 * where the second pass has another checkpoint: each then has what lies beside it), or `OWN_VAE`.
 * `init` is the picture that img2img and inpainting begin with: what is generated is `width` x `height` all the same,
 * and brought there and back; where the picture is upscaled in tiles, it is one tile. `hires` makes the pictures of
 * the words once more, larger. `template` is what the words were drawn from, where they were. `extras` are the values
 * of the extensions that are to take part, by their ids and names: fixed, and exact once they were at the door.
 * Making one checks every value; a wrong one raises `InvalidRequest` with a sentence.
 */
export interface GenerationRequest {
  /** Prompt */
  prompt?: string;
  /** Negative prompt */
  negative_prompt?: string;
  /** Checkpoint */
  checkpoint?: string;
  /** VAE */
  vae?: string;
  /** Sampling method */
  sampler?: string;
  /** Schedule type */
  schedule?: string;
  /** Sampling steps */
  steps?: number;
  /** CFG scale */
  cfg_scale?: number;
  /** Clip skip */
  clip_skip?: number;
  /** Width */
  width?: number;
  /** Height */
  height?: number;
  /** Seed */
  seed?: number;
  /** Batch size */
  batch_size?: number;
  /** Batch count */
  batch_count?: number;
  /** Picture to begin with */
  init?: InitImage | null;
  /** Hires. fix */
  hires?: HiresFix | null;
  /** Sampling options */
  sampling?: SamplingOptions | null;
  /** Guidance */
  guidance?: Guidance | null;
  /** Variation */
  variation?: Variation | null;
  /** Refiner */
  refiner?: Refiner | null;
  /** Random number generator source */
  noise_source?: "NV" | "CPU" | "GPU";
  /** Resize seed from */
  seed_resize?: [number, number] | null;
  /** Tiling */
  tiling?: boolean;
  /** Emphasis mode */
  emphasis?: "Original" | "No norm" | "Ignore" | "None";
  /** Old prompt editing timelines */
  old_prompt_editing?: boolean;
  /** Comma backtrack */
  comma_backtrack?: number;
  /** Template */
  template?: Template | null;
  /** Extensions */
  extras?: { [name: string]: { [name: string]: boolean | number | string } };
}

/** The drawing of a grid, which the page has asked for: its pictures are jobs of their own before it. */
export interface GridView {
  /** The grid's folder among the grids. */
  place: string;
  /** What it is, in a line. */
  title: string;
  /** What its pictures were made from. */
  base: GenerationRequest;
}

/**
 * How the negative prompt takes part.
 * Below the noise level `ngms` it is left out of every other evaluation, or with `ngms_all_steps` of all; and also
 * during the first share of the steps, `skip_early`. `rescale` is phi of Lin et al. 2023, section 3.4. `pad_conds`
 * makes prompts of different lengths equally long. `method` is how both guesses become one: a name in
 * `backend.sampling.guidance`.
 */
export interface Guidance {
  /** Negative Guidance minimum sigma */
  ngms?: number;
  /** Negative Guidance minimum sigma for all steps */
  ngms_all_steps?: boolean;
  /** Skip Early CFG */
  skip_early?: number;
  /** CFG rescale */
  rescale?: number;
  /** Pad conds */
  pad_conds?: boolean;
  /** Guidance method */
  method?: string;
}

/**
 * A second pass at a larger size: by `scale`, or to `width` x `height` (of which one may be 0: by the ratio).
 * `extra_noise` is that of `InitImage`.
 * Everything else that is empty or 0 is as in the first pass.
 */
export interface HiresFix {
  /** Upscaler */
  upscaler?: string;
  /** Upscale by */
  scale?: number;
  /** Resize width to */
  width?: number;
  /** Resize height to */
  height?: number;
  /** Hires steps */
  steps?: number;
  /** Denoising strength */
  denoising_strength?: number;
  /** Hires sampling method */
  sampler?: string;
  /** Hires schedule type */
  schedule?: string;
  /** Hires checkpoint */
  checkpoint?: string;
  /** Hires prompt */
  prompt?: string;
  /** Hires negative prompt */
  negative_prompt?: string;
  /** Hires CFG scale */
  cfg_scale?: number;
  /** Extra noise */
  extra_noise?: number;
}

/**
 * The picture to begin with. `sketch` is painted over it; `depth` is for depth checkpoints, which compute one
 * without; `image_cfg_scale` is for InstructPix2Pix. The noise that is put on the picture is multiplied by
 * `noise_multiplier`, and `extra_noise` times as much is put on besides. With `upscale` nothing is resized to what is
 * generated, so that `resize_mode` has no say.
 */
export interface InitImage {
  /** Picture */
  picture: string;
  /** Sketch */
  sketch?: string;
  /** Depth map */
  depth?: string;
  /** Denoising strength */
  denoising_strength?: number;
  /** Resize mode */
  resize_mode?: "Just resize" | "Crop and resize" | "Resize and fill" | "Just resize (latent upscale)";
  /** Image CFG scale */
  image_cfg_scale?: number;
  /** Noise multiplier */
  noise_multiplier?: number;
  /** Extra noise */
  extra_noise?: number;
  /** Box */
  box?: Box | null;
  /** Inpainting */
  inpainting?: Inpainting | null;
  /** Tiled upscale */
  upscale?: TiledUpscale | null;
}

/**
 * What of the picture is made new, and from what.
 * White of the `mask` is repainted, or what is opaque where it has transparency; without one it is what a box reaches
 * of the outside. `mask_blur` and `padding` are pixels of the picture. `mask_weight` is how much of the masked part an
 * inpainting checkpoint does not see. With `exact_outside` the result has the picture's size and its very pixels where
 * nothing is repainted; without, "Whole picture" gives AUTOMATIC1111's resized one. `seam_pass` samples once more,
 * lightly, over the seam of an outpainting.
 */
export interface Inpainting {
  /** Mask */
  mask?: string;
  /** Mask blur */
  mask_blur?: number;
  /** Inpaint not masked */
  inverted?: boolean;
  /** Masked content */
  masked_content?: "fill" | "original" | "latent noise" | "latent nothing" | "blur" | "Navier-Stokes";
  /** Inpaint area */
  area?: "Whole picture" | "Only masked";
  /** Only masked padding, pixels */
  padding?: number;
  /** Conditional mask weight */
  mask_weight?: number;
  /** Match colours around the mask */
  colour_match?: boolean;
  /** Keep what is outside, bit for bit */
  exact_outside?: boolean;
  /** Second pass over the seam */
  seam_pass?: boolean;
  /** Soft inpainting */
  soft?: SoftInpainting | null;
}

/** A picture that was put in, under the sha256 of its bytes. */
export interface InputView {
  /** What requests call it. */
  name: string;
  /** Pixels, when it stands upright. */
  width: number;
  height: number;
}

/** The asking person's jobs, in the order they run or ran. */
export interface JobList {
  jobs: Array<JobView>;
}

/** A job as it is now. */
export interface JobView {
  /** 32 hexadecimal digits. */
  id: string;
  kind: "generation" | "upscale" | "grid";
  state: "queued" | "running" | "finished" | "interrupted" | "failed";
  /** Seconds since 1970. */
  created: number;
  /** Its place in everybody's line, from 1; 0 for one that does not wait. */
  position: number;
  /** Until it will have ended; null while nothing like it was measured. */
  seconds_left: number | null;
  /** Of a failed job a word for the fault, such as oom or model_not_found; else empty. */
  error: string;
  /** Of a failed job why, in one sentence; else empty. */
  message: string;
  /** What it is waiting for; empty where it is not. */
  loading: string;
  /** Sentences about what was done otherwise than asked, so that it can go on. */
  notices: Array<string>;
  progress: ProgressView | null;
  pictures: Array<PictureView>;
  /** As it is run: names made exact, seeds chosen, words drawn. */
  request: GenerationRequest | UpscaleRequest | GridView;
}

/** The shelves of the Models tab. */
export type Kind = "checkpoint" | "lora" | "embedding" | "vae" | "controlnet" | "t2i_adapter" | "ip_adapter" | "upscaler" | "text_encoder" | "unknown";

/** The job waits for something, such as a checkpoint. */
export interface LoadingView {
  type?: "loading";
  what: string;
}

/** A picture is finished and saved. */
export interface MadeView {
  type?: "picture";
  picture: PictureView;
}

/** A model that a picture was made with and that is not here. */
export interface MissingView {
  kind: string;
  name: string;
  hash: string;
  sentence: string;
}

/** Models of one kind or of all, by name. */
export interface ModelList {
  models: Array<ModelView>;
}

/** A model file. */
export interface ModelView {
  id: string;
  kind: Kind;
  /** What a request or a prompt calls it. */
  name: string;
  /** What it is, in words. */
  title: string;
  /** Its architecture: only models of one family go together. */
  family: string;
  /** Bytes. */
  size: number;
  /** Why it cannot be used; empty for one that can. */
  problem: string;
  /** Pixels that a checkpoint makes best; 0 where that means nothing. */
  width: number;
  height: number;
  /** What a LoRA wants in the prompt, by its notes. */
  activation_text: string;
  /** Of a LoRA, by its notes; 0 where they name none. */
  preferred_weight: number;
}

/** Where a waiting job goes among your own. */
export interface Move {
  /** How many places later; negative: earlier. */
  places: number;
}

/** A table of names, in the order in which the page shows them. */
export interface NamedList {
  names: Array<NamedView>;
}

/** A row of a table that requests name: a sampler, a schedule or an upscaler. */
export interface NamedView {
  name: string;
  /** Other names that a request may use. */
  aliases: Array<string>;
}

/** Something was done otherwise than asked, so that the job can go on. */
export interface NoticeView {
  type?: "notice";
  message: string;
}

/** One value of an infotext. */
export interface PairView {
  key: string;
  value: string;
}

/** A finished picture of a job. */
export interface PictureView {
  /** Counts the job's pictures from 0. */
  index: number;
  /** The seed that makes this picture alone; -1 where there is none. */
  seed: number;
  /** Pixels. */
  width: number;
  /** Pixels. */
  height: number;
  media_type: string;
  /** Where the file's bytes are, from this server's root. */
  url: string;
  /** What the file carries, in AUTOMATIC1111's words. */
  infotext: string;
}

/** How a picture was made, as its file says. */
export interface PngInfo {
  /** The program that wrote it; empty where the file says nothing. */
  origin: string;
  /** Where in the file it stood. */
  place: string;
  /** What stood there. */
  text: string;
  prompt: string;
  negative_prompt: string;
  /** Every other value, in AUTOMATIC1111's words. */
  values: Array<PairView>;
  /** The request that it means; null where it means none. */
  request: GenerationRequest | null;
  missing: Array<MissingView>;
  /** Sentences about what was concluded, or not understood. */
  remarks: Array<string>;
}

/** Why something was not done: a word for programs and a sentence for people. */
export interface Problem {
  /** What kind of problem it is; this word does not change. */
  error: "invalid_value" | "model_not_found" | "not_found" | "unauthorized" | "forbidden" | "method_not_allowed" | "too_large" | "queue_full" | "oom" | "not_saved" | "bad_request" | "too_many_requests" | "unsupported_media_type";
  /** One sentence: what is wrong, which value, what is allowed. */
  detail: string;
}

/** The newest step of a running job. */
export interface ProgressView {
  /** Of `steps`, from 1. */
  step: number;
  steps: number;
  /** Of `batches`, from 1. */
  batch: number;
  batches: number;
  /** Steps a second. */
  rate: number;
  /** Seconds for the whole job. */
  remaining: number;
}

/** The line of everybody's jobs, in numbers. */
export interface QueueView {
  /** Everybody's waiting jobs. */
  waiting: number;
  /** Yours among them. */
  yours: number;
  running: number;
  /** How many may wait; 0 is no limit. */
  limit_total: number;
  /** How many of one person may wait; 0 is no limit. */
  limit_each: number;
}

/** The job waits; told at once and with every heartbeat. */
export interface QueuedView {
  type?: "queued";
  position: number;
  seconds_left: number | null;
}

/** Another checkpoint that takes over at a share of the way, of the timesteps or of the steps. */
export interface Refiner {
  /** Refiner */
  checkpoint: string;
  /** Refiner switch at */
  switch_at?: number;
  /** Refiner switch by sampling steps */
  by_sampling_steps?: boolean;
}

/**
 * What a sampler and a schedule are told; each of them heeds only what it knows.
 * `eta` is how much of the noise an ancestral or SDE sampler, or DDIM, takes away and replaces; None is the sampler's
 * own, 1 for the former and 0 for DDIM. `sigma_churn`, `sigma_tmin`, `sigma_tmax` and `sigma_noise` are S_churn,
 * S_tmin, S_tmax and S_noise of Karras et al. 2022, algorithm 2; a `sigma_tmax` of 0 means no limit. Of the schedule's
 * ends and rho, 0 means the checkpoint's or the schedule's own. `ensd` is added to the seed for all noise but the
 * first. The `unipc_` ones are those of Zhao et al. 2023.
 */
export interface SamplingOptions {
  /** Eta */
  eta?: number | null;
  /** Sigma churn */
  sigma_churn?: number;
  /** Sigma tmin */
  sigma_tmin?: number;
  /** Sigma tmax */
  sigma_tmax?: number;
  /** Sigma noise */
  sigma_noise?: number;
  /** Schedule min sigma */
  schedule_min_sigma?: number;
  /** Schedule max sigma */
  schedule_max_sigma?: number;
  /** Schedule rho */
  schedule_rho?: number;
  /** Beta scheduler alpha */
  beta_alpha?: number;
  /** Beta scheduler beta */
  beta_beta?: number;
  /** Discard penultimate sigma */
  discard_penultimate?: boolean;
  /** SGM noise multiplier */
  sgm_noise_multiplier?: boolean;
  /** Eta noise seed delta */
  ensd?: number;
  /** UniPC variant */
  unipc_variant?: "bh1" | "bh2" | "vary_coeff";
  /** UniPC skip type */
  unipc_skip_type?: "time_uniform" | "time_quadratic" | "logSNR";
  /** UniPC order */
  unipc_order?: number;
  /** UniPC lower order final */
  unipc_lower_order_final?: boolean;
}

/** Differential diffusion (Levin & Fried 2023, arXiv 2306.00950) with AUTOMATIC1111's names and defaults. */
export interface SoftInpainting {
  /** Schedule bias */
  schedule_bias?: number;
  /** Preservation strength */
  preservation_strength?: number;
  /** Transition contrast boost */
  transition_contrast_boost?: number;
  /** Mask influence */
  mask_influence?: number;
  /** Difference threshold */
  difference_threshold?: number;
  /** Difference contrast */
  difference_contrast?: number;
}

/** The job was begun. */
export interface StartedView {
  type?: "started";
}

/** A step is done. */
export interface StepView {
  /** Of `steps`, from 1. */
  step: number;
  steps: number;
  /** Of `batches`, from 1. */
  batch: number;
  batches: number;
  /** Steps a second. */
  rate: number;
  /** Seconds for the whole job. */
  remaining: number;
  type?: "progress";
  /** A small JPEG of what it looks like so far as a data URL; empty without one. */
  preview: string;
}

/** The job that a submission became, and further ones, where there are any. */
export interface SubmittedView {
  /** 32 hexadecimal digits. */
  id: string;
  kind: "generation" | "upscale" | "grid";
  state: "queued" | "running" | "finished" | "interrupted" | "failed";
  /** Seconds since 1970. */
  created: number;
  /** Its place in everybody's line, from 1; 0 for one that does not wait. */
  position: number;
  /** Until it will have ended; null while nothing like it was measured. */
  seconds_left: number | null;
  /** Of a failed job a word for the fault, such as oom or model_not_found; else empty. */
  error: string;
  /** Of a failed job why, in one sentence; else empty. */
  message: string;
  /** What it is waiting for; empty where it is not. */
  loading: string;
  /** Sentences about what was done otherwise than asked, so that it can go on. */
  notices: Array<string>;
  progress: ProgressView | null;
  pictures: Array<PictureView>;
  /** As it is run: names made exact, seeds chosen, words drawn. */
  request: GenerationRequest | UpscaleRequest | GridView;
  /**
   * Where a prompt leaves words to chance, by wildcards or {a|b}, each picture has words, and a job, of its own: these are the jobs of all pictures but the first.
   */
  others: Array<JobView>;
}

/**
 * What a request's prompts were drawn from. It changes no pixel: the request's own prompts are what is drawn, and
 * one that has a template is not drawn again.
 */
export interface Template {
  /** Template of the prompt */
  prompt?: string;
  /** Template of the negative prompt */
  negative_prompt?: string;
  /** Template of the hires prompt */
  hires_prompt?: string;
  /** Template of the hires negative prompt */
  hires_negative_prompt?: string;
}

/**
 * The picture `scale` times as large, and made new tile by tile: AUTOMATIC1111's SD upscale.
 * A tile is as large as what the request generates, and shares at least `overlap` pixels with the next.
 */
export interface TiledUpscale {
  /** Upscaler */
  upscaler?: string;
  /** Upscale by */
  scale?: number;
  /** Tile overlap */
  overlap?: number;
}

/**
 * Which pictures to enlarge, with what, and how far. Frozen, as `GenerationRequest` is; every value is checked, and
 * a wrong one raises `InvalidRequest` with a sentence.
 * `inputs` are names in `Inputs`. Of the second upscaler's result as much shows as `visibility_2` says, 0 to 1. With
 * `width` and `height` both 0 the size follows from `scale`, with no side longer than `max_side` unless that is 0;
 * else pictures are enlarged to cover width x height, of which one may be 0 for what the ratio gives, and, with
 * `crop`, cut to it. `operations` are done to the result, in the order of their names, each with its parameters: see
 * `backend.upscaling.operations`. With `keep_metadata` what the original says of itself stands in the result too.
 */
export interface UpscaleRequest {
  /** Pictures */
  inputs: Array<string>;
  /** Upscaler */
  upscaler?: string;
  /** Upscaler 2 */
  upscaler_2?: string;
  /** Upscaler 2 visibility */
  visibility_2?: number;
  /** Scale by */
  scale?: number;
  /** Max side length */
  max_side?: number;
  /** Width */
  width?: number;
  /** Height */
  height?: number;
  /** Crop to fit */
  crop?: boolean;
  /** Keep metadata */
  keep_metadata?: boolean;
  /** Operations */
  operations?: { [name: string]: { [name: string]: boolean | number | string } };
}

/** How far the first noise is from the seed's towards that of a second `seed`, of which -1 means "choose one". */
export interface Variation {
  /** Variation seed */
  seed?: number;
  /** Variation strength */
  strength?: number;
}

/** What each address takes and answers; a status of 400 and above answers a `Problem`. */
export interface Operations {
  "POST /api/v2/generations": { body: GenerationRequest; answer: SubmittedView };
  "POST /api/v2/upscales": { body: UpscaleRequest; answer: JobView };
  "GET /api/v2/queue": { body: undefined; answer: QueueView };
  "GET /api/v2/jobs": { body: undefined; answer: JobList };
  "GET /api/v2/jobs/{job}": { body: undefined; answer: JobView };
  "DELETE /api/v2/jobs/{job}": { body: undefined; answer: undefined };
  "POST /api/v2/jobs/{job}/cancel": { body: undefined; answer: JobView };
  "POST /api/v2/jobs/{job}/skip": { body: undefined; answer: JobView };
  "POST /api/v2/jobs/{job}/move": { body: Move; answer: JobView };
  "POST /api/v2/jobs/{job}/retry": { body: undefined; answer: JobView };
  "GET /api/v2/jobs/{job}/events": { body: undefined; answer: EventMessage };
  "GET /api/v2/jobs/{job}/pictures/{index}": { body: undefined; answer: Blob };
  "GET /api/v2/models": { body: undefined; answer: ModelList };
  "GET /api/v2/loras": { body: undefined; answer: ModelList };
  "GET /api/v2/models/{id}": { body: undefined; answer: ModelView };
  "GET /api/v2/samplers": { body: undefined; answer: NamedList };
  "GET /api/v2/schedules": { body: undefined; answer: NamedList };
  "GET /api/v2/upscalers": { body: undefined; answer: NamedList };
  "GET /api/v2/extensions": { body: undefined; answer: ExtensionList };
  "POST /api/v2/inputs": { body: Blob; answer: InputView };
  "PUT /api/v2/inputs/{sha256}": { body: Blob; answer: InputView };
  "GET /api/v2/inputs/{sha256}": { body: undefined; answer: InputView };
  "GET /api/v2/inputs/{sha256}/bytes": { body: undefined; answer: Blob };
  "POST /api/v2/png-info": { body: Blob; answer: PngInfo };
}
