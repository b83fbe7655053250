"""Program and offsets to C sources: {path: text}. The only file that knows the templates' language."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from aot.errors import AotError
from aot.ir import FORMATS, Array, Graph, Value
from aot.kernels.base import SharedFunction
from aot.names import comment, identifiers
from aot.numerics import LIMITS, span
from aot.ops.base import Site
from aot.ops.unary import Unary
from aot.plan import Plan
from aot.program import Place, Program, Step
from aot.targets import OPTIMIZE_FLAGS, Target
from aot.write import digests

RUNTIME_VERSION = 1
_C_TYPES = {"int8": "int8_t", "int16": "int16_t", "uint16": "uint16_t", "int32": "int32_t", "uint32": "uint32_t",
            "uint8": "uint8_t", "float32": "float"}
#: What clamps an int32_t to a format.
_CLAMPS = {"s8": "aot_clamp", "s16": "aot_clamp16"}
#: How a network computes, by the formats of its layers' outputs.
_ARITHMETIC = {"s8": "int8 fixed-point", "s16": "int16 fixed-point", "f32": "float"}
_PORTS = {"s8": "int8", "s16": "int16", "f32": "float"}
#: What rounds one number to each format; ``far`` lies safely outside.
_QUANTIZERS = {"s8": {"type": "int8_t", "suffix": "", "low": -128, "high": 127, "far": 1024},
               "s16": {"type": "int16_t", "suffix": "_s16", "low": -32768, "high": 32767, "far": 131072}}
#: Memory beside each input and output on an emulated board: 16 bytes that must stay as they are, and up to
#: 19 to misalign it.
BENCH_GUARD_BYTES = 40
_HERE = Path(__file__).parent


def resources(kind: str) -> Path:
    """The folder ``templates`` or ``runtime_c``: package data in a wheel, beside the package in a checkout."""
    for folder in (_HERE / kind, _HERE.parent / kind):
        if folder.is_dir():
            return folder
    raise AotError(f"the installation is incomplete: folder {kind} is missing", "install the package again")


@dataclass(frozen=True, eq=False)
class Port:
    """A model input or output as the C interface shows it."""

    ident: str
    argument: str
    title: str
    length: int
    scale: str
    zero: int
    shape: tuple[int, ...]
    format: str
    type: str


def emit(graph: Graph, program: Program, plan: Plan, target: Target, name: str, optimize: str,
         golden: Sequence[tuple[Mapping[str, Array], Mapping[str, Array]]], report: Mapping[str, Any],
         more: Mapping[str, str] | None = None) -> dict[str, str]:
    """All files of the generated project, by path. ``golden``: pairs of quantized inputs and outputs, by name.

    ``more`` files go with them. The report lists all others.
    """
    env = _environment()
    functions = [f for s in program.steps if (f := s.kernel.shared(s.site)) is not None]
    shared = {f.name: f for f in functions}
    assert all(f == shared[f.name] for f in functions), "two functions have one name"
    headers = sorted({target.isa.header, *(h for s in program.steps for h in s.kernel.includes(s.site))})
    context: dict[str, Any] = {
        **_interface(graph, program, plan, name), "upper": name.upper(), "target": target, "isa": target.isa,
        "optimize_flag": OPTIMIZE_FLAGS[optimize],
        "arena_bytes": plan.reserved(target.align), "align": target.align, "runtime_version": RUNTIME_VERSION,
        "headers": headers, "shared": [_shared(env, f) for f in shared.values()],
        "layers": [_layer(env, s, program, name, target) for s in program.functions],
        "constants": [_array(f"{name}_{n}", data) for n, data in program.constants.items()],
        "golden": [{"inputs": [_numbers(x[i]) for i in graph.inputs],
                    "outputs": [_numbers(y[o]) for o in graph.outputs]} for x, y in golden],
    }
    files = {
        f"include/{name}.h": "model.h.j2",
        f"include/{name}_float.h": "model_float.h.j2",
        f"src/{name}.c": "model.c.j2",
        f"src/{name}_weights.h": "weights.h.j2",
        f"src/{name}_weights.c": "weights.c.j2",
        f"test/{name}_selftest.c": "selftest.c.j2",
        "CMakeLists.txt": "CMakeLists.txt.j2",
    }
    out = {path: env.get_template(template).render(context) for path, template in files.items()}
    runtime = resources("runtime_c")
    for header in ("aot_fixed.h", *headers):
        out[f"src/{header}"] = (runtime / header).read_text()
    out |= more or {}
    out["report.json"] = json.dumps({**report, "files": digests(out)}, indent=2) + "\n"
    return dict(sorted(out.items()))


def emit_steps(graph: Graph, program: Program, plan: Plan, name: str) -> str:
    """C source that runs single steps of a generated project on the host, for comparison layer by layer."""
    return _environment().get_template("steps.c.j2").render(_interface(graph, program, plan, name))


def emit_bench(projects: Sequence[tuple[str, Graph, int]]) -> str:
    """C source that tells an emulated board which projects it holds: prefix, graph and number of samples of each."""
    rows: list[dict[str, Any]] = []
    for name, graph, samples in projects:
        inputs, outputs = len(graph.inputs), len(graph.outputs)
        ports = [graph.values[n] for n in (*graph.inputs, *graph.outputs)]
        arguments = ["arena", *(f"{kind}puts[{i}]" if c_type(p) == "int8_t" else f"(void *){kind}puts[{i}]"
                                for kind, i, p in zip(["in"] * inputs + ["out"] * outputs,
                                                      [*range(inputs), *range(outputs)], ports, strict=True))]
        rows.append({"name": name, "arguments": ", ".join(arguments), "samples": samples, "inputs": inputs,
                     "outputs": outputs, "ports": inputs + outputs,
                     "lengths": [p.type.nbytes for p in ports], "units": [p.type.itemsize for p in ports]})
    most = max(sum(n + BENCH_GUARD_BYTES for n in row["lengths"]) for row in rows)
    return _environment().get_template("bench.c.j2").render(
        projects=rows, port_bytes=most + BENCH_GUARD_BYTES, ports=max(row["ports"] for row in rows))


def emit_page(content: Mapping[str, Any]) -> str:
    """The page of ``aot doctor``: HTML, in which all text is escaped but what the template marks as safe."""
    env = jinja2.Environment(loader=jinja2.FileSystemLoader(resources("templates")), undefined=jinja2.StrictUndefined,
                             trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, autoescape=True)
    return env.get_template("doctor.html.j2").render(content)


def _interface(graph: Graph, program: Program, plan: Plan, name: str) -> dict[str, Any]:
    """What the run function needs: parameters, arena pointers and calls."""
    inputs, outputs = _ports(graph, graph.inputs, "input"), _ports(graph, graph.outputs, "output")
    formats = sorted({graph.values[n.output].type.format for n in graph.nodes}
                     | {graph.values[n].type.format for n in graph.inputs}, key=[*_ARITHMETIC].index)
    parameters = ["void *arena", *(f"const {p.type} *{p.argument}" for p in inputs),
                  *(f"{p.type} *{p.argument}" for p in outputs)]
    types = {place.name: c_type(value) for s in program.steps for place, value in
             ((s.output, s.site.output), *zip(s.operands, (s.site.inputs[k] for k in s.kernel.operands(s.site)),
                                              strict=True))}
    return {"name": name, "arithmetic": " and ".join(_ARITHMETIC[f] for f in formats),
            "scaled": any(p.scale for p in (*inputs, *outputs)),
            "ports_are": " and ".join(w for f, w in _PORTS.items() if any(f == p.format for p in (*inputs, *outputs))),
            "quantizers": [_QUANTIZERS[f] for f in _QUANTIZERS if any(f == p.format for p in inputs)],
            "inputs": inputs, "outputs": outputs, "parameters": ", ".join(parameters),
            "calls": [_call(s, program, graph, name) for s in program.steps],
            "buffers": [{"name": b.name, "offset": plan.offsets[b.name], "bytes": b.nbytes,
                         "type": types.get(b.name, "void")}
                        for b in program.buffers]}


@cache
def _environment() -> jinja2.Environment:
    env = jinja2.Environment(loader=jinja2.FileSystemLoader(resources("templates")), undefined=jinja2.StrictUndefined,
                             line_statement_prefix="%%", trim_blocks=True, lstrip_blocks=False,
                             keep_trailing_newline=True, autoescape=False)
    env.filters["shifted"] = lambda text, d: f"({text}) * (1 << SHIFT)" if d["SHIFT"] else text
    env.filters["limited"] = _limited
    return env


def _ports(graph: Graph, names: tuple[str, ...], kind: str) -> list[Port]:
    idents = identifiers(names, kind)

    def scale(value: Value) -> str:
        if value.type.quant is None:
            return ""
        return np.format_float_scientific(np.float32(value.scale), unique=True, trim="0")

    ports = []
    for ident, name in zip(idents, names, strict=True):
        value: Value = graph.values[name]
        argument = kind if len(names) == 1 else f"{kind}_{ident}"
        ports.append(Port(ident, argument, comment(name, 60), value.type.size, scale(value),
                          value.type.quant.zero if value.type.quant else 0, value.type.shape, value.type.format,
                          c_type(value)))
    return ports


def _layer(env: jinja2.Environment, step: Step, program: Program, name: str, target: Target) -> str:
    """One layer's C function."""
    node, kernel = step.site.node, step.kernel
    dims, operands = kernel.dims(step.site), kernel.operands(step.site)
    shapes = [step.site.inputs[k].type.shape for k in operands]
    own = f"{step.function}_"
    title = f"{' + '.join('x'.join(map(str, s)) or '1' for s in shapes)} -> " \
            f"{'x'.join(map(str, step.site.output.type.shape)) or '1'}"
    lines = [f"/* {node.op.name}: {title}"]
    if node.origin:
        lines.append(f" * from {comment(' + '.join(node.origin))}")
    output = step.site.output
    low, high = span(output.type) if output.type.format in LIMITS else (0, 0)
    return env.get_template(f"{kernel.template(step.site)}.c.j2").render(
        title="\n".join([*lines, " */"]), function=step.function, d=dims, dims=_enum(dims), isa=target.isa,
        c={n.removeprefix(own): f"{name}_{s}" for n, s in program.symbols.items() if n.startswith(own)},
        operands=operands, adds=step.site.residual is not None,
        in_type=c_type(step.site.inputs[operands[0]]), out_type=c_type(output),
        clamp=_CLAMPS.get(output.type.format, ""), **_products(step.site), lowest=low, highest=high,
        expression=step.site.node.op.expression() if isinstance(step.site.node.op, Unary) else "",
        numbers=_reals(kernel.numbers(step.site)),
        shared=shared.name if (shared := kernel.shared(step.site)) is not None else "",
        levels=sum(k.startswith("COUNT_") for k in dims))


def _products(site: Site) -> dict[str, str]:
    """For layers with weights: their C type, and what sums products of those formats."""
    if not site.node.op.linear:
        return {}
    widths = {"s8s8": "", "s16s16": "16", "s16s8": "16x8", "s8s4": "8x4", "s16s4": "16x4", "s8s16": "8x16"}
    suffix = widths.get(site.inputs[0].type.format + site.inputs[1].type.format, "")
    gathered = suffix.replace("8x16", "16")  # pixels are widened first
    return {"weight_type": c_type(site.inputs[1]), "row_dot": f"aot_row_dot{suffix}",
            "pixel_dot": f"aot_pixel_dot{gathered}", "taps": f"aot_taps{suffix.replace('x4', 'x8')}"}


def c_type(value: Value) -> str:
    """The C type of a value's elements."""
    return _C_TYPES[str(FORMATS[value.type.format])]


def _limited(text: str, numbers: str) -> str:
    """A float expression within the layer's limits, if it has some."""
    if " OUT_MIN " in numbers:
        text = f"aot_at_least({text}, OUT_MIN)"
    return f"aot_at_most({text}, OUT_MAX)" if " OUT_MAX " in numbers else text


def _reals(numbers: Mapping[str, float]) -> str:
    """The block of named float numbers at the top of a function."""
    return "\n".join(f"    const float {name} = {_float(value)};" for name, value in numbers.items())


def _float(value: float) -> str:
    """A float32 as C reads it back exactly."""
    text = np.format_float_scientific(np.float32(value), unique=True, trim="0")
    return f"{text}f"


def _shared(env: jinja2.Environment, shared: SharedFunction) -> str:
    """A function that several layers call."""
    return env.get_template(f"{shared.template}.c.j2").render(function=shared.name, d=shared.dims,
                                                              dims=_enum(shared.dims))


def _enum(dims: Mapping[str, int]) -> str:
    """The block of named numbers at the top of a function."""
    rows, row = [], ""
    for key, value in dims.items():
        number = f"{value}" if value > -(2**31) else "(-2147483647 - 1)"
        word = f"{key} = {number}, "
        if len(row) + len(word) > 100:
            rows.append(row.rstrip())
            row = ""
        row += word
    rows.append(row.rstrip().rstrip(","))
    return "    enum {\n" + "\n".join(f"        {r}" for r in rows) + "\n    };"


def _call(step: Step, program: Program, graph: Graph, name: str) -> dict[str, Any]:
    """The call of a layer: function and arguments as C expressions."""
    arguments = {n: p.argument for names, kind in ((graph.inputs, "input"), (graph.outputs, "output"))
                 for n, p in zip(names, _ports(graph, names, kind), strict=True)}

    def pointer(place: Place, itemsize: int) -> str:
        if place.space == "constant":
            return f"{name}_{program.symbols[place.name]}"
        base = place.name if place.space == "arena" else arguments[place.name]
        return f"{base} + {place.offset // itemsize}" if place.offset else base

    used = [step.site.inputs[k] for k in step.kernel.operands(step.site)]
    args = [pointer(p, v.type.itemsize) for p, v in zip(step.operands, used, strict=True)]
    args.append(pointer(step.output, step.site.output.type.itemsize))
    if step.scratch is not None:
        args.append(pointer(step.scratch, 1))
    return {"function": step.function, "args": args, "output": args[len(step.operands)],
            "type": c_type(step.site.output),
            "bytes": step.site.output.type.nbytes}


def _array(name: str, data: Array) -> dict[str, Any]:
    """A constant array: C type, name, length, and its numbers in lines."""
    return {"type": _C_TYPES[str(data.dtype)], "name": name, "length": max(data.size, 1), "rows": _numbers(data)}


def _numbers(data: Array) -> list[str]:
    """Numbers as lines of C initializers."""
    if data.dtype == np.uint32:  # words of several packed numbers
        flat = [f"0x{v:08x}u" for v in data.reshape(-1).tolist()]
    elif data.dtype == np.float32:
        flat = [_float(v) for v in data.reshape(-1).tolist()]
    else:
        flat = [str(v) if v > -(2**31) else "(-2147483647 - 1)" for v in data.reshape(-1).tolist()] or ["0"]
    width = max(map(len, flat))
    per_line = max(1, 108 // (width + 2))
    return [", ".join(flat[i:i + per_line]) + "," for i in range(0, len(flat), per_line)]


assert set(_C_TYPES) >= {str(FORMATS[f]) for f in ("s4", "s8", "s16", "s32", "f32")}
