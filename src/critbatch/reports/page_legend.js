// Plotly's own legend neither wraps on a phone nor answers to the keyboard.
function legend(traces, restyle) {
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
      restyle({ visible: !pressed }, indices);
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
