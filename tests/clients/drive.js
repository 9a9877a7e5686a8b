// Drives Atelier through two clients of AUTOMATIC1111's interface as their authors published them.
// Usage: node drive.js http://127.0.0.1:PORT ; prints what it saw as one line of JSON.

const { StableDiffusionApi } = require("stable-diffusion-api");
const sdwebui = require("node-sd-webui").default;
const sharp = require("sharp");

const LATEST = 60000; // milliseconds

const grey = (level, side = 64) =>
    sharp({ create: { width: side, height: side, channels: 3, background: { r: level, g: level, b: level } } });

async function until(there) {
    const started = Date.now();
    for (;;) {
        const found = await there();
        if (found) return found;
        if (Date.now() - started > LATEST) throw new Error("it never came");
        await new Promise((resolve) => setTimeout(resolve, 20));
    }
}

async function size(picture) {
    const { width, height } = await picture.metadata();
    return [width, height];
}

async function main(address) {
    const api = new StableDiffusionApi({ baseUrl: address });
    const small = { prompt: "a green tree", steps: 2, width: 64, height: 64, seed: 7 };
    const other = sdwebui({ apiUrl: address });
    const seen = {};

    const words = await api.txt2img({ ...small, batch_size: 2 });
    seen.txt2img = { sizes: await Promise.all(words.images.map(size)), seeds: JSON.parse(words.info).all_seeds };
    const painted = await api.img2img({
        ...small,
        init_images: [grey(200)],
        mask_image: grey(255),
        inpainting_fill: 1,
    });
    seen.img2img = { size: await size(painted.image), infotext: JSON.parse(painted.info).infotexts[0] };
    seen.extras = await size((await api.extraSingle({ image: grey(9), upscaler_1: "Lanczos" })).image);
    seen.pngInfo = (await api.pngInfo(words.image)).info;

    await api.setOptions({ CLIP_stop_at_last_layers: 2 });
    const options = await api.getOptions();
    await api.setOptions(options);
    seen.options = [options.CLIP_stop_at_last_layers, (await api.getOptions()).sd_model_checkpoint];
    seen.current = await api.getCurrentModel();
    seen.models = (await api.getSdModels()).map((model) => model.title);
    seen.samplers = (await api.getSamplers()).length;
    seen.upscalers = (await api.getUpscalers()).map((upscaler) => upscaler.name);
    seen.empty = [
        await api.getHypernetworks(),
        await api.getFaceRestorers(),
        await api.getRealesrganModels(),
        await api.getPromptStyles(),
    ];
    seen.flags = await api.getCmdFlags();
    seen.controlnet = [await api.ControlNet.getModels(), await api.ControlNet.getModules()];
    await api.refreshCheckpoints();

    seen.idle = (await api.getProgress()).progress;
    const long = api.txt2img({ ...small, steps: 150, n_iter: 20 });
    const halfway = await until(async () => {
        const progress = await api.getProgress();
        return progress.state.sampling_step > 0 && progress.current_image ? progress : null;
    });
    seen.progress = { done: halfway.progress, count: halfway.state.job_count, eta: halfway.eta_relative };
    await api.api.post("/sdapi/v1/interrupt");
    seen.interrupted = (await long).images.length;
    seen.refused = await api.txt2img({ ...small, sampler_name: "nonsense" }).catch((error) => [
        error.response.status,
        error.response.data.detail,
    ]);

    const tiny = { prompt: "a red house", steps: 2, width: 64, height: 64 };
    const house = await other.txt2img({ ...tiny, seed: 3 });
    seen.other = { images: house.images.length, seed: JSON.parse(house.info).seed };
    seen.again = (await other.img2img({ ...tiny, imageData: [house.images[0]] })).images.length;
    seen.read = await other.pngInfo({ imageData: house.images[0] });
    return seen;
}

main(process.argv[2]).then(
    (seen) => console.log(JSON.stringify(seen)),
    (error) => {
        console.error(error.response ? error.response.data : error);
        process.exitCode = 1;
    },
);
