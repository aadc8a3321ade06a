"use strict";
(() => {
  const onDark = /* ON_DARK */ {};
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const touch = matchMedia("(pointer: coarse)"); // where dragging scrolls the page
  const config = { displayModeBar: false, responsive: true };

  const inTheme = (node, isDark) => {
    if (typeof node === "string") return isDark && Object.hasOwn(onDark, node) ? onDark[node] : node;
    if (Array.isArray(node)) return node.map((one) => inTheme(one, isDark));
    if (node && typeof node === "object")
      return Object.fromEntries(Object.entries(node).map(([key, one]) => [key, inTheme(one, isDark)]));
    return node;
  };

  const draw = (isDark) => {
    for (const plot of document.querySelectorAll(".plot")) {
      const content = document.querySelector(`script[data-of="${plot.id}"]`).textContent;
      const { data, layout } = inTheme(JSON.parse(content), isDark);
      if (touch.matches) layout.dragmode = false;
      if (plot.data) layout.updatemenus = kept(layout.updatemenus, plot.layout.updatemenus);
      if (plot.data) data.forEach((trace, index) => { trace.visible = plot.data[index].visible; });
      Plotly.react(plot, data, layout, config);
    }
  };

  const kept = (menus, before) =>
    menus && menus.map((menu, index) => ({ ...menu, active: before[index].active ?? 0 }));

  const pick = (name) => {
    const chosen = document.querySelector(`#picked article[data-name="${CSS.escape(name)}"]`);
    if (!chosen) return;
    for (const one of document.querySelectorAll("#picked article")) one.hidden = one !== chosen;
    for (const row of document.querySelectorAll("tr.picked")) row.classList.remove("picked");
    for (const button of document.querySelectorAll(`button[data-pick="${CSS.escape(name)}"]`))
      button.closest("tr")?.classList.add("picked");
    document.getElementById("picked").scrollIntoView({ block: "nearest" });
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-pick]");
    if (button) pick(button.dataset.pick);
  });
  draw(dark.matches);
  for (const plot of document.querySelectorAll(".plot"))
    plot.on("plotly_click", ({ points: [point] }) => {
      if (Array.isArray(point.customdata)) pick(point.customdata[1]);
    });
  dark.addEventListener("change", () => draw(dark.matches));
  addEventListener("beforeprint", () => draw(false));
  addEventListener("afterprint", () => draw(dark.matches));
})();
