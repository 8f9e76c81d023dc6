(() => {
  "use strict";
  const dark = JSON.parse(document.getElementById("dark").textContent);
  const buttons = JSON.parse(document.getElementById("buttons").textContent);
  const prefersDark = matchMedia("(prefers-color-scheme: dark)");
  const coarse = matchMedia("(pointer: coarse)");
  const halves = [...document.querySelectorAll(".half")];
  const plots = [...document.querySelectorAll(".plot")];
  const drawn = new Set();
  // An A4 page less its margins and those of a card.
  const PRINT_WIDTH = 640;
  const PRINT_HALF = 292;
  let printing = false;

  const shown = (plot) => plot.offsetParent !== null;

  function draw(plot) {
    const source = document.querySelector(`script[data-figure="${plot.id}"]`).textContent;
    const night = prefersDark.matches && !printing;
    const figure = JSON.parse(night ? source.replace(/#[0-9a-f]{6}/g, (colour) => dark[colour] || colour) : source);
    const layout = figure.layout;
    const width = printing ? (plot.closest(".pair") ? PRINT_HALF : PRINT_WIDTH) : plot.clientWidth;
    layout.showlegend = false;
    layout.autosize = !printing;
    if (printing) layout.width = width;
    layout.height = plot.closest(".large") && width > 520 ? 420 : 320;
    layout.dragmode = coarse.matches ? false : "zoom";
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
    const config = {
      responsive: true,
      displaylogo: false,
      locale: plot.closest(".half").lang.startsWith("zh") ? "zh" : "en",
      locales: { zh: { dictionary: buttons } },
      displayModeBar: coarse.matches ? false : "hover",
      modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d", "zoomIn2d", "zoomOut2d"],
      modeBarButtonsToAdd: saving(plot),
      toImageButtonOptions: { filename: plot.id, scale: 2 },
    };
    Plotly.react(plot, figure.data, layout, config);
    // The hidden sentence beside the figure says what a screen reader would else spell out tick by tick.
    plot.querySelectorAll(".main-svg").forEach((picture) => picture.setAttribute("aria-hidden", "true"));
    plot.previousElementSibling.replaceChildren(...legend(plot, figure.data));
    drawn.add(plot);
  }

  // Beside plotly's own button for a PNG: the drawing, and the numbers in it.
  function saving(plot) {
    const say = (text) => (plot.closest(".half").lang.startsWith("zh") ? buttons[text] : text);
    return [
      {
        name: "svg",
        title: say("Download plot as an SVG"),
        icon: Plotly.Icons.disk,
        click: () => Plotly.downloadImage(plot, { format: "svg", filename: plot.id }),
      },
      {
        name: "csv",
        title: say("Download the numbers as CSV"),
        icon: Plotly.Icons.drawline,
        click: () => save(`${plot.id}.csv`, asCsv(plot)),
      },
    ];
  }

  function asCsv(plot) {
    const quoted = (text) => `"${String(text).replace(/"/g, '""')}"`;
    const end = (error, side, i, value) => {
      const away = error && error[side] ? error[side][i] : null;
      return typeof away === "number" ? value + (side === "array" ? away : -away) : "";
    };
    const rows = ["series,panel,x,y,low,high"];
    plot.data.forEach((trace) => {
      (trace.x || []).forEach((x, i) => {
        const y = trace.y[i];
        const across = trace.error_x && trace.error_x.array;
        const [error, value] = across ? [trace.error_x, x] : [trace.error_y, y];
        const ends = [end(error, "arrayminus", i, value), end(error, "array", i, value)];
        const panel = Number((trace.xaxis || "x").slice(1) || 1);
        if (x !== null && y !== null) rows.push([quoted(nameOf(trace)), panel, x, y, ...ends].join(","));
      });
    });
    return `\ufeff${rows.join("\r\n")}\r\n`;
  }

  function save(name, text) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "text/csv;charset=utf-8" }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  // Names are written for plotly, which reads entities.
  const nameOf = (trace) => new DOMParser().parseFromString(trace.name || "", "text/html").body.textContent;

  function thinTicks(axis) {
    // On an axis that is not logarithmic ticks are names.
    if (!axis.tickvals || axis.tickvals.length < 7 || axis.type === "linear") return;
    const every = Math.ceil(axis.tickvals.length / 6);
    for (const key of ["tickvals", "ticktext"]) {
      if (axis[key]) axis[key] = axis[key].filter((_, i) => i % every === 0);
    }
  }

  // Plotly's own legend neither wraps on a phone nor answers to the keyboard.
  function legend(plot, traces) {
    const named = traces.map((trace, index) => ({ trace, index })).filter(({ trace }) => trace.name);
    const first = named.filter(({ trace }) => trace.showlegend !== false);
    return first.map(({ trace, index }) => {
      const button = document.createElement("button");
      button.type = "button";
      button.setAttribute("aria-pressed", "true");
      const label = document.createElement("span");
      label.textContent = nameOf(trace);
      button.append(swatch(trace), label);
      const others = named.filter((each) => trace.legendgroup && each.trace.legendgroup === trace.legendgroup);
      const indices = others.length ? others.map((each) => each.index) : [index];
      button.addEventListener("click", () => {
        const pressed = button.getAttribute("aria-pressed") === "true";
        button.setAttribute("aria-pressed", String(!pressed));
        Plotly.restyle(plot, { visible: pressed ? false : true }, indices);
      });
      const item = document.createElement("li");
      item.append(button);
      return item;
    });
  }

  const SHAPES = {
    circle: "M16 8a4 4 0 1 1-8 0a4 4 0 1 1 8 0",
    square: "M8 4h8v8h-8z",
    diamond: "M12 3l5 5l-5 5l-5-5z",
    star: "M12 1.5l1.8 4.4l4.7.4l-3.6 3.1l1.1 4.6l-4-2.5l-4 2.5l1.1-4.6l-3.6-3.1l4.7-.4z",
    "triangle-up-open": "M12 3.5l4.6 8.5h-9.2z",
    "x-thin": "M8.5 4.5l7 7m0-7l-7 7",
  };

  function swatch(trace) {
    const svg = element("svg", { viewBox: "0 0 24 16", width: 24, height: 16, "aria-hidden": "true" });
    const marker = trace.marker || {};
    const line = trace.line || {};
    if (trace.type === "bar") svg.append(element("rect", { x: 6, y: 2, width: 12, height: 12, fill: marker.color }));
    else if (trace.fill) svg.append(element("rect", { x: 1, y: 3, width: 22, height: 10, fill: trace.fillcolor }));
    else {
      if (trace.mode.includes("lines")) {
        const dash = { dot: "2 2.5", dash: "5 3" }[line.dash] || "none";
        const stroke = { stroke: line.color, "stroke-width": 2, "stroke-dasharray": dash };
        svg.append(element("path", { d: "M1 8h22", fill: "none", ...stroke }));
      }
      if (trace.mode.includes("markers")) {
        const symbol = marker.symbol || "circle";
        const colour = typeof marker.color === "string" ? marker.color : line.color;
        const outline = (!symbol.endsWith("open") && marker.line && marker.line.color) || colour;
        const open = symbol.endsWith("open") || symbol === "x-thin";
        const strong = open || (symbol === "circle" && outline !== colour) ? 2 : 0;
        const paint = { fill: open ? "none" : colour, stroke: outline, "stroke-width": strong };
        const shape = SHAPES[symbol] || SHAPES[symbol.replace("-open", "")] || SHAPES.circle;
        svg.append(element("path", { d: shape, ...paint }));
      }
    }
    return svg;
  }

  function element(name, attributes) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
    return made;
  }

  const watcher = new IntersectionObserver(
    (entries) => {
      const near = entries.filter((entry) => entry.isIntersecting && !drawn.has(entry.target));
      near.forEach((entry) => draw(entry.target));
    },
    { rootMargin: "600px 0px" },
  );
  plots.forEach((plot) => watcher.observe(plot));
  const redraw = () => plots.filter((plot) => drawn.has(plot) && shown(plot)).forEach(draw);
  prefersDark.addEventListener("change", () => {
    plots.filter((plot) => !shown(plot)).forEach((plot) => drawn.delete(plot));
    redraw();
  });

  function speak(half, other) {
    const parts = [...other.querySelectorAll("section, .answer")];
    const place = Math.max(0, parts.findLastIndex((part) => part.getBoundingClientRect().top < 120));
    const offset = parts[place].getBoundingClientRect().top;
    halves.forEach((each) => (each.hidden = each !== half));
    document.documentElement.lang = half.lang;
    document.title = half.dataset.title;
    const counterpart = half.querySelectorAll("section, .answer")[place];
    if (place > 0) scrollBy({ top: counterpart.getBoundingClientRect().top - offset, behavior: "instant" });
    half.querySelector(".switch").focus({ preventScroll: true });
    plots.filter((plot) => shown(plot) && drawn.has(plot)).forEach((plot) => Plotly.Plots.resize(plot));
  }
  halves.forEach((half) => {
    const other = halves.find((each) => each !== half);
    half.querySelector(".switch").addEventListener("click", () => speak(other, half));
  });

  const methods = document.querySelectorAll("details.method");
  let opened = [];
  addEventListener("beforeprint", () => {
    printing = true;
    opened = [...methods].filter((part) => !part.open);
    opened.forEach((part) => (part.open = true));
    plots.filter(shown).forEach(draw);
  });
  addEventListener("afterprint", () => {
    printing = false;
    opened.forEach((part) => (part.open = false));
    redraw();
  });
})();
