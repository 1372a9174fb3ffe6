#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The include graph against layers.txt: folders, layers, cycles, owned headers.  Prints it."""

import collections
import fnmatch
import re

import lint


def read_layers():
    folders, owners, interfaces, exact, patterns = {}, {}, set(), {}, []
    for line in lint.text("tests/lint/layers.txt").splitlines():
        words = line.split("#")[0].split()
        if not words:
            continue
        if words[0] == "folder":
            folders[words[1]] = words[2:]
        elif words[0] == "only":
            owners[words[1]] = words[2:]
        elif words[0] == "interface":
            interfaces.update(words[1:])
        elif "*" in words[0]:
            patterns.append((words[0], int(words[1])))
        else:
            exact[words[0]] = int(words[1])
    return folders, owners, interfaces, exact, patterns


FOLDER_RULES, OWNERS, INTERFACES, EXACT, PATTERNS = read_layers()


def module_of(path):
    """What the file is part of; the header of an interface is a module of its own."""
    stem, suffix = str(path).rsplit(".", 1)
    return str(path) if suffix == "h" and stem in INTERFACES else stem


def layer_of(module):
    module = module.removesuffix(".h")
    if module in EXACT:
        return EXACT[module]
    return next((n for pattern, n in PATTERNS if fnmatch.fnmatch(module, pattern)), None)


def includes(path):
    """(line, quoted or not, name) of every #include."""
    for number, line in enumerate(lint.code(path, strings=True).splitlines(), 1):
        match = re.match(r'\s*#\s*include\s*(["<])([^">]+)[">]', line)
        if match:
            yield number, match.group(1) == '"', match.group(2)


def full_name(path, name):
    """The public headers are installed side by side, and name each other so."""
    beside = f"client/{name}"
    return beside if str(path) in lint.PUBLIC and beside in lint.PUBLIC else name


def folder_of(name):
    return name.split("/", 1)[0]


def check_include(path, number, name):
    """What is wrong with one include of ours, as (rule, text), or None."""
    where = f"{path}:{number}"
    if not (lint.ROOT / name).is_file():
        return "path", f'{where}: "{name}" is no file, seen from the root'
    if not name.endswith(".h"):
        return "path", f'{where}: "{name}" is no header'
    if folder_of(name) not in FOLDER_RULES.get(folder_of(str(path)), []):
        return "folder", f'{where}: {folder_of(str(path))} may not include "{name}"'
    mine, theirs = layer_of(module_of(path)), layer_of(module_of(name))
    if mine is not None and theirs is not None and theirs > mine:
        return "layer", f'{where}: L{mine} includes "{name}" of L{theirs}'
    return None


def scan(sources):
    """(problems by rule, edges between modules)"""
    problems = collections.defaultdict(list)
    edges = {module_of(path): set() for path in sources}
    for path in sources:
        for number, ours, name in includes(path):
            if not ours:
                if module_of(path) not in OWNERS.get(name, [module_of(path)]):
                    problems["owner"].append(
                        f"{path}:{number}: <{name}> belongs to {' '.join(OWNERS[name])}")
                continue
            name = full_name(path, name)
            wrong = check_include(path, number, name)
            if wrong:
                problems[wrong[0]].append(wrong[1])
            elif module_of(name) != module_of(path):
                edges[module_of(path)].add(module_of(name))
    return problems, edges


def find_cycles(edges):
    """Depth first; each back edge closes a cycle, given as the modules on it."""
    cycles, done = [], set()

    def visit(module, stack):
        if module in stack:
            cycles.append(" -> ".join(stack[stack.index(module):] + [module]))
        elif module not in done:
            for other in sorted(edges.get(module, ())):
                visit(other, stack + [module])
            done.add(module)

    for module in sorted(edges):
        visit(module, [])
    return cycles


def print_graph(edges):
    """By layer: its modules by folder, then for each what it includes, by layer."""
    by_layer = collections.defaultdict(list)
    for module in sorted(edges):
        if folder_of(module) in lint.PRODUCT and layer_of(module) is not None:
            by_layer[layer_of(module)].append(module)
    for layer in sorted(by_layer):
        columns = collections.defaultdict(list)
        for module in by_layer[layer]:
            columns[folder_of(module)].append(module.split("/", 1)[1])
        print(f"# L{layer} " + " | ".join(f"{f}: {' '.join(columns[f])}" for f in sorted(columns)))
    for layer in sorted(by_layer):
        for module in by_layer[layer]:
            below = sorted(edges[module], key=lambda m: (layer_of(m), m))
            print(f"#   L{layer} {module} <- "
                  + (" ".join(f"{m}({layer_of(m)})" for m in below) or "nothing"))


def main():
    sources = lint.files(".c", ".h")
    problems, edges = scan(sources)
    modules = [m for m in edges if folder_of(m) in FOLDER_RULES]
    unlisted = [f"{m} is not in tests/lint/layers.txt" for m in edges if layer_of(m) is None]
    report = lint.Report()
    report.case("every module has a layer", unlisted, len(modules))
    report.case("includes are headers, by their path from the root", problems["path"], len(sources))
    report.case("folders include only what they may", problems["folder"], len(sources))
    report.case("no include goes up", problems["layer"], len(sources))
    report.case("no cycle of modules", find_cycles(edges), len(modules))
    report.case("owned headers are included by their owner only", problems["owner"], len(sources))
    if not unlisted:
        print_graph(edges)
    report.finish()


main()
