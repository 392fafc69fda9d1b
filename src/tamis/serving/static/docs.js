// Try-it forms of the API's documentation: each sends its call to this server and shows the answer as it came.

const MOST_SHOWN = 20_000;

for (const form of document.querySelectorAll("form.try")) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(form);
  });
}

async function send(form) {
  const { method, path } = form.dataset;
  const status = form.querySelector(".status");
  const shown = form.querySelector(".answer");
  if (method === "DELETE" && !confirm(`Send ${method} ${path} to this server? It deletes corrections with their texts.`)) return;
  const request = { method, headers: {}, cache: "no-store" };
  const body = form.elements.body?.value;
  if (body !== undefined) {
    request.body = body;
    request.headers["Content-Type"] = "application/json";
  }
  const key = document.getElementById("key")?.value.trim();
  if (key) request.headers.Authorization = `Bearer ${key}`;
  status.textContent = "Waiting for the answer…";
  shown.hidden = true;
  const begun = performance.now();
  try {
    const response = await fetch(address(form, path), request);
    const text = await response.text();
    status.textContent = `${response.status} ${response.statusText}`.trim() + `, ${Math.round(performance.now() - begun)} ms`;
    shown.textContent = pretty(text);
    shown.hidden = text === "";
  } catch (error) {
    status.textContent = `The server cannot be reached: ${error.message}`;
  }
}

/** The address with the values of the form; empty parameters of the query are left out. */
function address(form, path) {
  const query = new URLSearchParams();
  let filled = path;
  for (const field of form.querySelectorAll("input[data-in]")) {
    if (field.dataset.in === "path") filled = filled.replace(`{${field.name}}`, encodeURIComponent(field.value));
    else if (field.value !== "") query.append(field.name, field.value);
  }
  const rest = query.toString();
  return filled.slice(1) + (rest ? `?${rest}` : "");
}

function pretty(text) {
  let found = text;
  try {
    found = JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    // Not JSON: the metrics are plain text.
  }
  return found.length > MOST_SHOWN ? `${found.slice(0, MOST_SHOWN)}\n… (${found.length - MOST_SHOWN} more characters)` : found;
}
