// Shows the settings that contain the words typed.

function filter(words) {
  const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
  for (const section of document.querySelectorAll(".settings-section")) {
    const heading = section.querySelector("h2")?.textContent.toLowerCase() ?? "";
    let found = 0;
    for (const setting of section.querySelectorAll(".setting")) {
      const text = `${heading} ${setting.textContent.toLowerCase()}`;
      const hit = wanted.every((word) => text.includes(word));
      setting.toggleAttribute("data-filtered", !hit);
      found += hit;
    }
    section.toggleAttribute("data-filtered", found === 0);
  }
}

document.addEventListener("input", (event) => {
  if (event.target.id === "settings_search") filter(event.target.value);
});
