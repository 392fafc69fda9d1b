"""The style sheet of report.html: readable on a phone and on paper, no outside fonts."""

from __future__ import annotations

CSS = """
:root{--ink:#1c1f23;--soft:#5c6670;--line:#dfe3e8;--blue:#0072b2;--warn:#fff3e6;--edge:#d55e00}
*{box-sizing:border-box}
body{margin:0 auto;max-width:62rem;padding:1.25rem;color:var(--ink);background:#fff;font:16px/1.5 system-ui,sans-serif}
h1{font-size:1.6rem;margin:.2rem 0}
h2{font-size:1.2rem;margin:2.2rem 0 .6rem;border-bottom:1px solid var(--line);padding-bottom:.2rem}
p{margin:.5rem 0}
.soft{color:var(--soft)}
.cards{display:flex;flex-wrap:wrap;gap:.8rem;margin:1rem 0}
.card{flex:1 1 11rem;border:1px solid var(--line);border-top:4px solid var(--blue);border-radius:6px}
.card{padding:.7rem .9rem}
.card b{display:block;font-size:1.9rem;line-height:1.2}
.card small{display:block;color:var(--soft)}
.warning{background:var(--warn);border-left:5px solid var(--edge);border-radius:4px;padding:.6rem .9rem;margin:1rem 0}
.warning ul{margin:.3rem 0;padding-left:1.2rem}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.92rem;font-variant-numeric:tabular-nums}
th,td{padding:.4rem .6rem;border-bottom:1px solid var(--line);text-align:right;vertical-align:top}
th:first-child,td:first-child,.text{text-align:left}
td small{display:block;color:var(--soft);white-space:nowrap}
.figures td:nth-child(2){font-weight:600}
.figures small{font-weight:400}
td.text{overflow-wrap:anywhere;min-width:14rem;white-space:pre-wrap}
figure{margin:0}
figcaption{color:var(--soft);font-size:.9rem}
img{max-width:100%;height:auto}
.plots{columns:2 19rem;column-gap:1.5rem}
.plots figure{break-inside:avoid;margin-bottom:1.2rem}
pre{background:#f5f7f9;border-radius:6px;padding:.8rem;overflow-x:auto;font-size:.88rem}
@media print{body{max-width:none;padding:0;font-size:11pt}
.card,figure,tr,.warning{break-inside:avoid}
.scroll{overflow:visible}
}
"""
