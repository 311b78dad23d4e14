"""The page's style sheet: one column of text, ruled tables, quiet colours; and its script."""

import base64
import hashlib

from core.arms import KINDS, VARIANTS

# Of lines that are no arms, on a light and on a dark page: eyes that do not see red or green tell
# neighbours apart, and each stands 3:1 or more against the page.
LINES = (
    ("#0072b2", "#56b4e9"),  # blue
    ("#d55e00", "#ff9a57"),  # vermilion
    ("#00795a", "#3fd0a4"),  # green
    ("#a6458a", "#e39cc9"),  # purple
    ("#7a6200", "#f0e442"),  # yellow
    ("#4d4d4d", "#bdbdbd"),  # grey
)


def _colors(scheme: int) -> str:
    """The CSS variables of arms and lines in the light (0) or the dark scheme (1)."""
    colors = {name: kind.colors[scheme] for name, kind in KINDS.items()}
    colors |= {f"variant-{i}": pair[scheme] for i, pair in enumerate(VARIANTS, start=1)}
    colors |= {f"line-{i}": pair[scheme] for i, pair in enumerate(LINES, start=1)}
    return " ".join(f"--{name}: {color};" for name, color in colors.items())


CSS = """
:root {
  color-scheme: light dark;
  --serif: Charter, "Bitstream Charter", "Sitka Text", Cambria, Georgia, serif;
  --sans: "Helvetica Neue", "Segoe UI", Roboto, "Liberation Sans", Arial, sans-serif;
  --mono: ui-monospace, "SF Mono", Menlo, Consolas, "Liberation Mono", monospace;
  --paper: #fffefb; --ink: #1d1d1b; --muted: #62625d; --rule: #d9d8d0; --tint: #f5f4ee;
  LIGHT
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --paper: #16171a; --ink: #e6e5e0; --muted: #9d9d97; --rule: #37383d; --tint: #1f2024;
    DARK
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0 auto; padding: 3rem 1.5rem 4rem; max-width: 66rem;
  background: var(--paper); color: var(--ink); font: 1.0625rem/1.55 var(--serif);
  -webkit-print-color-adjust: exact; print-color-adjust: exact;
}
h1 { font-size: 1.9rem; line-height: 1.2; font-weight: 600; margin: 0 0 1.4rem; }
.reach { margin: -.5rem 0 1.4rem; font-size: 1.125rem; }
h2 {
  font-size: 1.25rem; font-weight: 600; margin: 3.2rem 0 .8rem; padding-top: .7rem;
  border-top: 1px solid var(--rule);
}
.contents { columns: 16rem; list-style: none; padding: 0; margin: 1.4rem 0 0; }
.contents small { color: var(--muted); }
.broken { margin: .9rem 0; overflow-wrap: anywhere; }
a { color: inherit; text-decoration-color: var(--muted); text-underline-offset: .15em; }
.made { margin-top: 1.6rem; font-size: .92rem; }
td.long { white-space: normal; min-width: 16rem; }
h3 + .charts { margin-top: .5rem; }
h3 { font-size: 1.0625rem; font-weight: 600; margin: 1.8rem 0 .5rem; }
h3 small, figcaption small { font-weight: 400; color: var(--muted); }
p, ul { max-width: 44rem; margin: 0 0 .9rem; }
ul { padding-left: 1.2rem; }
li { margin-bottom: .35rem; }
.caption { color: var(--muted); font-size: .92rem; }
code { font: .84em/1.5 var(--mono); overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .3rem 1.4rem; margin: 0; }
dt { color: var(--muted); }
dd { margin: 0; min-width: 0; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; margin: 0 0 .9rem; }
table {
  border-collapse: collapse; font: .875rem/1.4 var(--sans); font-variant-numeric: tabular-nums;
  border-top: 1.5px solid var(--ink); border-bottom: 1.5px solid var(--ink);
}
table.text { min-width: min(100%, 44rem); }
table.wide { width: 100%; }
th, td { padding: .3rem .8rem .3rem 0; text-align: right; white-space: nowrap; font-weight: 400; }
th:last-child, td:last-child { padding-right: 0; }
th.l, td.l { text-align: left; }
thead th { border-bottom: 1px solid var(--muted); vertical-align: bottom; color: var(--muted); }
tbody.model + tbody.model th.model { border-top: 1px solid var(--rule); }
th.model { padding-top: .7rem; font-weight: 600; white-space: normal; }
tbody.model tr:last-child td { padding-bottom: .6rem; }
tbody.model td.l:first-child { padding-left: .9rem; }
tr.mean th, tr.mean td { border-top: 1px solid var(--rule); }
.sd { color: var(--muted); }
.key { display: inline-block; width: .65em; height: .65em; margin-right: .5em; border-radius: 50%; }
.key.ring { border: .14em solid; background: none !important; }
.swatch { display: inline-block; width: .8em; height: .8em; margin-right: .5em;
  border: 1px solid var(--rule); vertical-align: -.06em; }
.legend { display: flex; flex-wrap: wrap; gap: .25rem 1.2rem; padding: 0; margin: 0 0 .7rem;
  max-width: none; list-style: none; font: .8125rem/1.5 var(--sans); }
.legend li { margin: 0; }
.ramp { display: inline-block; width: 9rem; height: .75em; margin: 0 .5em; vertical-align: -.05em; }
.charts { display: grid; margin: 1.4rem 0 .5rem; gap: 1rem 1.6rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, var(--least)), 1fr)); }
.charts svg { display: block; width: 100%; max-width: 29rem; height: auto; }
.small svg { max-width: 23rem; }
figure { margin: 0; min-width: 0; }
figcaption { font: .8125rem/1.4 var(--sans); }
.chart figcaption { font-weight: 600; margin-bottom: .2rem; }
.beside { display: flex; flex-wrap: wrap; gap: 1rem 3rem; align-items: start; }
.beside figure { flex: 1 1 24rem; }
.beside .scroll { flex: 1 1 auto; }
.beside svg { display: block; width: 100%; max-width: 32rem; height: auto; }
.strip { display: grid; gap: .7rem; margin-bottom: .7rem; }
.two { grid-template-columns: repeat(2, 1fr); }
.many { grid-template-columns: repeat(auto-fit, minmax(min(10rem, 45%), 1fr)); }
.strip img { display: block; width: 100%; height: auto; background: var(--tint); }
.alone img { width: auto; max-width: 100%; }
.zoom { display: block; width: 100%; padding: 0; border: 0; background: none; cursor: zoom-in; }
#large { width: 100vw; height: 100vh; max-width: none; max-height: none; padding: 1rem; border: 0;
  background: var(--paper); color: var(--ink); }
#large[open] { display: grid; grid-template-rows: minmax(0, 1fr) auto; gap: .5rem; }
#large button { padding: 0; border: 0; background: none; cursor: zoom-out; min-height: 0;
  outline: none; }
#large img { width: 100%; height: 100%; object-fit: contain; }
#large p { max-width: none; margin: 0; text-align: center; font: .875rem/1.4 var(--sans); }
.strip figcaption { margin-top: .25rem; color: var(--muted); }
.row { margin-top: .9rem; }
.row > figcaption { font-weight: 600; margin-bottom: .35rem; }
.missing { display: grid; place-items: center; aspect-ratio: 2; background: var(--tint);
  color: var(--muted); font: .8125rem var(--sans); }
@media screen and (max-width: 42rem) {
  body { padding: 1.5rem 1rem 3rem; font-size: 1rem; }
  h1 { font-size: 1.5rem; }
  dl { gap: .2rem .9rem; }
  thead th { white-space: normal; }
  th, td { padding-right: .6rem; }
  table { font-size: .8125rem; }
}
@media print {
  :root { --paper: #fff; font-size: 11.5px; }
  body { max-width: none; padding: 0; }
  h2, h3 { break-after: avoid; }
  figure, tr, .strip { break-inside: avoid; }
  .scroll { overflow: visible; }
}
""".replace("LIGHT", _colors(0)).replace("DARK", _colors(1))

# A click or Enter on a picture opens it large; a click, Enter or Escape (the dialog's own) closes.
SCRIPT = """
const large = document.getElementById("large");
for (const button of document.querySelectorAll(".zoom")) {
  button.onclick = () => {
    const small = button.firstElementChild, row = button.closest(".row");
    const name = row ? row.firstElementChild.textContent + ": " : "";
    large.querySelector("img").src = small.src;
    large.querySelector("p").textContent = name + small.alt;
    large.showModal();
  };
}
large.onclick = () => large.close();
"""
_HASH = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
# Nothing from elsewhere, and no script but this one.
POLICY = (
    f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{_HASH}'"
)
