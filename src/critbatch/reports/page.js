const dark = JSON.parse(document.getElementById("dark").textContent);
const prefersDark = matchMedia("(prefers-color-scheme: dark)");
const coarse = matchMedia("(pointer: coarse)");
const translations = [...document.querySelectorAll(".translation")];
const plots = [...document.querySelectorAll(".plot")];
const prepared = new Set();
const drawn = new Set();
// An A4 page less its margins and those of a card.
const PRINT_WIDTH = 640;
const PRINT_HALF = 292;
// Plotly's own bar answers to the pointer alone, and has a button that sends the figure away.
const CONFIG = { responsive: true, displayModeBar: false, showTips: false };
let printing = false;

const shown = (plot) => plot.offsetParent !== null;
const widthOf = (plot) => (!printing ? plot.clientWidth : plot.closest(".pair") ? PRINT_HALF : PRINT_WIDTH);

// A colour of a figure in the dark, with its transparency. Other texts stay.
const inTheDark = (_, value) => {
  const isColour = typeof value === "string" && (value.length === 7 || value.length === 9) && value.slice(0, 7) in dark;
  return isColour ? dark[value.slice(0, 7)] + value.slice(7) : value;
};

// What plotly is given, for a width.
function figureOf(plot, width, night) {
  const source = document.querySelector(`script[data-figure="${plot.id}"]`).textContent;
  const figure = JSON.parse(source, night ? inTheDark : undefined);
  const layout = figure.layout;
  layout.showlegend = false;
  layout.dragmode = coarse.matches ? false : "zoom";
  layout.height = plot.closest(".large") && width > 520 ? 420 : 320;
  const meta = layout.meta || {};
  if (width < 420) {
    layout.font = { size: 11 };
    layout.height = 280;
    Object.keys(layout).filter((name) => name.startsWith("xaxis")).forEach((name) => thinTicks(layout[name]));
    // The legend names what there is no room to name within.
    if (layout.annotations) layout.annotations = layout.annotations.filter((note) => note.name !== "band");
  }
  if (width < 560 && meta.narrow) {
    Object.entries(meta.narrow).forEach(([axis, values]) => Object.assign(layout[axis], values));
    layout.height *= meta.narrow_taller;
  } else layout.height *= meta.taller || 1;
  return figure;
}

function thinTicks(axis) {
  // On an axis that is not logarithmic ticks are names.
  if (!axis.tickvals || axis.tickvals.length < 7 || axis.type === "linear") return;
  const every = Math.ceil(axis.tickvals.length / 6);
  for (const key of ["tickvals", "ticktext"]) {
    if (axis[key]) axis[key] = axis[key].filter((_, i) => i % every === 0);
  }
}

// All of a figure but its drawing, which takes long: nothing below moves when that comes.
function prepare(plot) {
  const night = prefersDark.matches && !printing;
  const { data, layout } = figureOf(plot, widthOf(plot), night);
  const restyle = (change, indices) => {
    if (!drawn.has(plot)) draw(plot);
    Plotly.restyle(plot, change, indices);
  };
  plot.style.minHeight = `${layout.height}px`;
  plot.previousElementSibling.replaceChildren(...legend(data, restyle));
  plot.nextElementSibling.hidden = false;
  prepared.add(plot);
}

function draw(plot) {
  if (!prepared.has(plot)) prepare(plot);
  const width = widthOf(plot);
  const { data, layout } = figureOf(plot, width, prefersDark.matches && !printing);
  layout.autosize = !printing;
  if (printing) layout.width = width;
  const first = !plot.data;
  Plotly.react(plot, data, layout, CONFIG);
  if (first) plot.on("plotly_relayout", (change) => (backOf(plot).hidden = !zooms(change)));
  // The hidden sentence beside the figure says what a screen reader would else spell out tick by tick.
  plot.querySelectorAll(".main-svg").forEach((picture) => picture.setAttribute("aria-hidden", "true"));
  drawn.add(plot);
}

const backOf = (plot) => plot.nextElementSibling.querySelector("[data-save=reset]");
const zooms = (change) => Object.keys(change).some((name) => name.includes("range["));

// As it was drawn at first: what plotly would else fit to the data has a range of its own.
function zoomOut(plot) {
  const { layout } = figureOf(plot, widthOf(plot), prefersDark.matches);
  Plotly.react(plot, plot.data, { ...layout, autosize: true }, CONFIG);
  backOf(plot).hidden = true;
  plot.nextElementSibling.querySelector("[data-save=png]").focus();
}

const watcher = new IntersectionObserver(
  (entries) => {
    const near = entries.filter((entry) => entry.isIntersecting && !drawn.has(entry.target));
    near.forEach((entry) => draw(entry.target));
  },
  { rootMargin: "600px 0px" },
);

// Whatever was drawn otherwise is drawn again when it comes near.
function drawAnew() {
  drawn.clear();
  prepared.clear();
  plots.forEach((plot) => {
    watcher.unobserve(plot);
    watcher.observe(plot);
  });
  whenIdle(drawTheRest);
}

// Where nobody waits for anything else: room for all, and then one drawing at a time.
// A page that nobody moves may be given no idle time at all.
const whenIdle = window.requestIdleCallback
  ? (go) => requestIdleCallback(go, { timeout: 300 })
  : (go) => setTimeout(go, 300);
function drawTheRest() {
  const rest = plots.filter((plot) => shown(plot) && !drawn.has(plot));
  const bare = rest.filter((plot) => !prepared.has(plot));
  if (printing || !rest.length) return;
  if (bare.length) bare.forEach(prepare);
  else draw(rest[0]);
  whenIdle(drawTheRest);
}

// The same place of the page in another language.
function showTranslation(next, current) {
  const parts = [...current.querySelectorAll("section, .answer")];
  const place = Math.max(0, parts.findLastIndex((part) => part.getBoundingClientRect().top < 120));
  const offset = parts[place].getBoundingClientRect().top;
  translations.forEach((each) => (each.hidden = each !== next));
  document.documentElement.lang = next.lang;
  document.title = next.dataset.title;
  plots.filter((plot) => shown(plot) && !prepared.has(plot)).forEach(prepare);
  const counterpart = next.querySelectorAll("section, .answer")[place];
  if (place > 0) scrollBy({ top: counterpart.getBoundingClientRect().top - offset, behavior: "instant" });
  next.querySelector(".switch").focus({ preventScroll: true });
  plots.filter((plot) => shown(plot) && drawn.has(plot)).forEach((plot) => Plotly.Plots.resize(plot));
  whenIdle(drawTheRest);
}
// A button names the other language, a menu all of them; with one language there is neither.
document.querySelectorAll(".switch").forEach((control) => {
  const current = control.closest(".translation");
  const isMenu = control.matches("select");
  control.addEventListener(isMenu ? "change" : "click", () => {
    const next = translations.find((each) => each.dataset.language === control.value);
    if (isMenu) control.value = current.dataset.language;
    showTranslation(next, current);
  });
});
document.querySelectorAll(".tools button").forEach((button) => {
  const plot = button.closest("figure").querySelector(".plot");
  const { save } = button.dataset;
  button.addEventListener("click", () => (save === "reset" ? zoomOut(plot) : saveFigure(plot, save)));
});

const methods = document.querySelectorAll("details.method");
let opened = [];
addEventListener("beforeprint", () => {
  printing = true;
  opened = [...methods].filter((part) => !part.open);
  opened.forEach((part) => (part.open = true));
  plots.filter(shown).forEach((plot) => {
    prepare(plot);
    draw(plot);
  });
});
addEventListener("afterprint", () => {
  printing = false;
  opened.forEach((part) => (part.open = false));
  drawAnew();
});
prefersDark.addEventListener("change", drawAnew);

// A page that a browser has saved holds drawings that nothing here knows of.
plots.forEach((plot) => plot.replaceChildren());
drawAnew();
