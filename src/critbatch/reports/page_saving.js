// What a figure can be saved as: a picture that stands alone, light and with its title and legend, or its numbers.
const SHARED_WIDTH = 900;
const SHARED_HEIGHT = 560;
const TITLE_LINE = 24;

function saveFigure(plot, format) {
  if (format === "csv") return saveText(`${plot.id}.csv`, asCsv(figureOf(plot, SHARED_WIDTH, false).data));
  const { data, layout } = figureOf(plot, SHARED_WIDTH, false);
  if (plot.data) plot.data.forEach((trace, i) => (data[i].visible = trace.visible));
  const title = wrapped(plot.closest("figure").querySelector("figcaption").textContent.trim(), 84);
  const above = (layout.margin && layout.margin.t) || 12;
  const drawing = {
    data,
    layout: {
      ...layout,
      title: { text: title.map(escaped).join("<br>"), x: 0.012, xanchor: "left", y: 1, yanchor: "top", yref: "container", pad: { t: 16 } },
      margin: { ...layout.margin, t: above + 20 + TITLE_LINE * title.length },
      showlegend: true,
      legend: { orientation: "h", x: 0.012, xref: "container", xanchor: "left", y: 0.01, yref: "container", yanchor: "bottom" },
    },
    config: { locale: "en" },
  };
  const size = { width: SHARED_WIDTH, height: Math.max(SHARED_HEIGHT, layout.height) };
  return Plotly.downloadImage(drawing, { format, filename: plot.id, scale: format === "png" ? 2 : 1, ...size });
}

// A Chinese character is as wide as two others, and a line may end after any.
function wrapped(text, most) {
  const lines = [""];
  let wide = 0;
  for (const word of text.match(/[\u2e80-\uffef]|[^\s\u2e80-\uffef]+\s*|\s+/g) || []) {
    const width = /[\u2e80-\uffef]/.test(word) ? 2 : word.length;
    if (wide && wide + width > most) {
      lines.push("");
      wide = 0;
    }
    lines[lines.length - 1] += word;
    wide += width;
  }
  return lines;
}

const escaped = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

// A row for each mark; of a surface one for each place, its height as `z`.
function asCsv(traces) {
  const quoted = (text) => `"${String(text).replace(/"/g, '""')}"`;
  const end = (error, side, i, value) => {
    const away = error && error[side] ? error[side][i] : null;
    return typeof away === "number" ? value + (side === "array" ? away : -away) : "";
  };
  const told = (value) => (typeof value === "string" ? quoted(value) : value);
  const high = traces.some((trace) => trace.z);
  const rows = [`series,panel,x,y,low,high${high ? ",z" : ""}`];
  traces.forEach((trace) => {
    const head = [quoted(nameOf(trace)), Number((trace.xaxis || "x").slice(1) || 1)];
    if (trace.z) {
      trace.z.forEach((row, j) =>
        row.forEach((z, i) => z !== null && rows.push([...head, trace.x[i], trace.y[j], "", "", z].join(","))),
      );
      return;
    }
    (trace.x || []).forEach((x, i) => {
      const y = trace.y[i];
      if (x === null || y === null) return;
      const across = trace.error_x && trace.error_x.array;
      const [error, value] = across ? [trace.error_x, x] : [trace.error_y, y];
      const ends = [end(error, "arrayminus", i, value), end(error, "array", i, value)];
      rows.push([...head, told(x), told(y), ...ends, ...(high ? [""] : [])].join(","));
    });
  });
  return `\ufeff${rows.join("\r\n")}\r\n`;
}

function saveText(name, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv;charset=utf-8" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

// Names are written for plotly, which reads entities.
const nameOf = (trace) => new DOMParser().parseFromString(trace.name || "", "text/html").body.textContent;
