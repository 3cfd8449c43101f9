// Turns strips of stills into films: one button and one slider for the films of a problem.
for (const figure of document.querySelectorAll("figure.transport")) {
  const player = figure.querySelector(".player");
  const button = player.querySelector("button");
  const slider = player.querySelector("input");
  const films = [...figure.querySelectorAll(".frames")].map((list) => [...list.children]);
  const last = Number(slider.max);
  let timer;
  const show = () => {
    const stage = Number(slider.value);
    for (const frames of films) {
      const shown = Math.round((stage / last) * (frames.length - 1));
      frames.forEach((frame, index) => frame.classList.toggle("now", index === shown));
    }
    slider.setAttribute("aria-valuetext", `stage ${stage} of ${last}`);
  };
  const pause = () => {
    clearTimeout(timer);
    timer = undefined;
    button.textContent = "Play";
  };
  const step = () => {
    slider.value = slider.value === slider.max ? 0 : Number(slider.value) + 1;
    show();
    const end = slider.value === slider.max || slider.value === "0";
    timer = setTimeout(step, end ? 1500 : 300);
  };
  const play = () => {
    button.textContent = "Pause";
    step();
  };
  button.addEventListener("click", () => (timer === undefined ? play() : pause()));
  slider.addEventListener("input", () => {
    pause();
    show();
  });
  figure.classList.add("moving");
  player.hidden = false;
  show();
  // Plays by itself only in view, once, and only for readers who have nothing against motion.
  if (!matchMedia("(prefers-reduced-motion: reduce)").matches) {
    let begun = false;
    const watch = new IntersectionObserver((entries) => {
      const seen = entries[entries.length - 1].isIntersecting;
      if (seen && !begun) {
        begun = true;
        play();
      } else if (!seen) {
        pause();
      }
    });
    watch.observe(figure);
  }
}
// On paper nothing can be unfolded.
addEventListener("beforeprint", () => {
  document.querySelectorAll("details.again").forEach((details) => (details.open = true));
});
