// Shows openapi.json without any library, network or inline code. Texts are set as text, never as HTML.

const METHODS = ["get", "post", "put", "patch", "delete"];

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children.filter((child) => child !== null));
  return made;
}

function section(title, ...children) {
  return element("section", {}, element("h4", {}, title), ...children);
}

/** The shape of a schema as text; each named shape is opened once along a path, so that circles end. */
function shape(schema, schemas, open = [], indent = "") {
  if (!schema || Object.keys(schema).length === 0) return "anything";
  if (schema.$ref) {
    const name = schema.$ref.split("/").at(-1);
    return open.includes(name) ? name : shape(schemas[name], schemas, [...open, name], indent);
  }
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  const choices = schema.anyOf ?? schema.oneOf;
  if (choices) return choices.map((choice) => shape(choice, schemas, open, indent)).join(" | ");
  if (schema.type === "array") return `[${shape(schema.items, schemas, open, indent)}, ...]`;
  if (schema.properties) {
    const inner = `${indent}  `;
    const required = new Set(schema.required ?? []);
    const lines = Object.entries(schema.properties).map(([key, value]) => {
      const remark = value.description ? `   // ${value.description}` : "";
      return `${inner}${key}${required.has(key) ? "" : "?"}: ${shape(value, schemas, open, inner)}${remark}`;
    });
    return `{\n${lines.join("\n")}\n${indent}}`;
  }
  if (schema.additionalProperties) return `{ any name: ${shape(schema.additionalProperties, schemas, open, indent)} }`;
  return schema.format ? `${schema.type} (${schema.format})` : (schema.type ?? "anything");
}

function contentOf(content, schemas) {
  return Object.entries(content ?? {}).flatMap(([type, { schema, itemSchema, examples, example }]) => {
    const named = schema?.$ref ? schemas[schema.$ref.split("/").at(-1)] : schema;
    const shown = example ?? Object.values(examples ?? {})[0]?.value ?? named?.examples?.[0] ?? null;
    return [
      element("p", {}, type),
      element("pre", {}, shape(schema ?? itemSchema, schemas)),
      shown === null ? null : element("pre", {}, `Example: ${JSON.stringify(shown, null, 2)}`),
    ];
  });
}

function parameters(operation, schemas) {
  if (!operation.parameters?.length) return null;
  const rows = operation.parameters.map((parameter) =>
    element(
      "tr",
      {},
      element("td", {}, element("code", {}, parameter.name)),
      element("td", { class: "quiet" }, parameter.in + (parameter.required ? ", required" : "")),
      element("td", {}, shape(parameter.schema, schemas)),
      element("td", { class: "quiet" }, parameter.description ?? parameter.schema?.description ?? ""),
    ),
  );
  return section("Parameters", element("table", {}, ...rows));
}

function operationOf(method, path, operation, schemas) {
  const answers = Object.entries(operation.responses).map(([status, response]) =>
    section(`${status} ${response.description}`, ...contentOf(response.content, schemas)),
  );
  return element(
    "details",
    { "data-words": `${method} ${path} ${operation.summary} ${operation.description ?? ""}`.toLowerCase() },
    element(
      "summary",
      {},
      element("span", { class: "method" }, method.toUpperCase()),
      element("code", {}, path),
      element("span", { class: "title" }, operation.summary ?? ""),
    ),
    element(
      "div",
      {},
      element("p", {}, operation.description ?? ""),
      parameters(operation, schemas),
      operation.requestBody ? section("Body", ...contentOf(operation.requestBody.content, schemas)) : null,
      ...answers,
    ),
  );
}

function show(api) {
  const groups = new Map();
  for (const [path, item] of Object.entries(api.paths)) {
    for (const method of METHODS.filter((name) => name in item)) {
      const tag = item[method].tags?.[0] ?? "other";
      const made = operationOf(method, path, item[method], api.components?.schemas ?? {});
      groups.set(tag, [...(groups.get(tag) ?? []), made]);
    }
  }
  const about = document.getElementById("about");
  about.replaceChildren(
    `${api.info.title} ${api.info.version}. `,
    element("a", { href: "/api/openapi.json" }, "openapi.json"),
  );
  for (const [tag, made] of groups) {
    document.getElementById("contents").append(element("a", { href: `#${tag}` }, tag));
    document.getElementById("operations").append(element("section", { id: tag }, element("h2", {}, tag), ...made));
  }
}

document.getElementById("find").addEventListener("input", (event) => {
  const words = event.target.value.toLowerCase().split(/\s+/);
  for (const details of document.querySelectorAll("[data-words]")) {
    details.hidden = !words.every((word) => details.dataset.words.includes(word));
  }
});

const answer = await fetch("/api/openapi.json");
if (answer.ok) show(await answer.json());
else document.getElementById("about").textContent = (await answer.json()).detail;
