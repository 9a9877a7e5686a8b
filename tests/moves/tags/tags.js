export async function init(host) {
  const tags = Object.entries(await (await host.fetch("tags")).json());
  host.addCompleter(async ({ before }) => {
    const typed = /[^,]*$/.exec(before)[0].trimStart();
    if (!typed) return;
    const found = tags.filter(([tag]) => tag.startsWith(typed.toLowerCase()));
    const row = ([tag, uses], rank) => ({ what: "tag", label: tag, text: tag, note: `${uses} uses`, fits: true, rank });
    return { typed, rows: found.sort((one, other) => other[1] - one[1]).map(row) };
  });
}
