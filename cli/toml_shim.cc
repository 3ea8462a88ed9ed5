/*
 * libtomlplusplus behind a C function: parses, and hands out key by key. Holds no rule about
 * settings; no exception leaves it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "toml_shim.h"

#include <cstdio>
#include <exception>
#include <string>
#include <string_view>

#include <toml++/toml.h>

namespace
{

cli_toml_place place_of(const toml::source_position &position)
{
    return {position.line, position.column};
}

bool is_bare(std::string_view key)
{
    constexpr std::string_view letters =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
    return !key.empty() && key.find_first_not_of(letters) == std::string_view::npos;
}

cli_toml_kind kind_of(const toml::node &node)
{
    switch (node.type()) {
    case toml::node_type::table:
        return CLI_TOML_TABLE;
    case toml::node_type::string:
        return CLI_TOML_TEXT;
    case toml::node_type::integer:
        return CLI_TOML_INTEGER;
    case toml::node_type::boolean:
        return CLI_TOML_BOOL;
    case toml::node_type::floating_point:
        return CLI_TOML_FLOAT;
    case toml::node_type::array:
        return CLI_TOML_LIST;
    default:
        return CLI_TOML_DATE;
    }
}

/* The visitor says how deep this goes: only into sections that it knows. */
void walk(const toml::table &table, const std::string &above, cli_toml_visit visit, void *ctx)
{
    for (auto &&[key, node] : table) {
        const std::string_view name = key.str();
        const std::string path =
            above + (is_bare(name) ? std::string(name) : "\"" + std::string(name) + "\"");
        const toml::value<std::string> *text = node.as_string();
        cli_toml_item item = {};
        item.path = path.c_str();
        item.kind = kind_of(node);
        item.text = text != nullptr ? text->get().c_str() : nullptr;
        item.text_len = text != nullptr ? text->get().size() : 0;
        item.integer = node.value_or<std::int64_t>(0);
        item.truth = node.is_boolean() && node.value_or(false);
        item.key = place_of(key.source().begin);
        item.value = place_of(node.source().begin);
        const bool goes_in = visit(ctx, &item);
        if (goes_in && node.is_table()) {
            walk(*node.as_table(), path + ".", visit, ctx);
        }
    }
}

} // namespace

cli_toml_result cli_toml_read(const char *text, size_t len, cli_toml_visit visit, void *ctx,
                              cli_toml_fault *fault)
{
    try {
        const toml::table table = toml::parse(std::string_view(text, len));
        walk(table, "", visit, ctx);
        return CLI_TOML_OK;
    } catch (const toml::parse_error &error) {
        fault->place = place_of(error.source().begin);
        (void)std::snprintf(fault->line, sizeof fault->line, "%.*s",
                            static_cast<int>(error.description().size()),
                            error.description().data());
        return CLI_TOML_SYNTAX;
    } catch (const std::exception &) { /* there is nothing else that it throws */
        return CLI_TOML_MEMORY;
    }
}
