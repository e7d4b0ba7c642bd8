/** The feature maps of an image: one that is chosen, or one of the test part. */

import { announce, call, data, say } from "./answers.js";
import { attempt } from "./dialogs.js";

const part = document.querySelector("[data-maps]");
if (part) {
  const picture = part.querySelector("[data-picture]"), place = document.querySelector("[data-problem]");
  const path = `/api/v1/models/${encodeURIComponent(data.model)}/versions/${data.number}/layers/${encodeURIComponent(data.layer)}/feature-maps.png`;
  const theme = document.documentElement.dataset.theme === "system"
    ? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light") : document.documentElement.dataset.theme;
  part.hidden = false;

  /** Draw the feature maps of an image. @param {Blob} image */
  const draw = (image) => attempt(place, async () => {
    part.setAttribute("aria-busy", "true");
    try {
      const answer = await call(`${path}?theme=${theme}`, { method: "POST", body: image, headers: { "Content-Type": image.type || "application/octet-stream" } });
      const old = picture.src;
      picture.src = URL.createObjectURL(await answer.blob());
      if (old) URL.revokeObjectURL(old);
      picture.hidden = false;
      announce(say("inside.script.drawn"));
    } finally {
      part.removeAttribute("aria-busy");
    }
  });

  part.querySelector("[data-file]").addEventListener("change", ({ target }) => target.files[0] && draw(target.files[0]));
  for (const button of part.querySelectorAll("[data-sample]")) {
    button.addEventListener("click", async () => draw(await (await fetch(button.dataset.sample)).blob()));
  }
}
