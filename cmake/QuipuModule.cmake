# Warnings, sanitizers and the shape of a module: one static library per module, whose public headers
# are a file set (so that the target all_verify_interface_header_sets compiles each of them alone) and
# which sees only the headers of the modules below it.

add_library(quipu_flags INTERFACE)
target_compile_features(quipu_flags INTERFACE c_std_11)
target_compile_definitions(quipu_flags INTERFACE _GNU_SOURCE)
target_compile_options(quipu_flags INTERFACE
    -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla
    -Wcast-qual -Wswitch-enum -Wundef -Wformat=2 -Wnull-dereference -Wwrite-strings
    $<$<BOOL:${QUIPU_WARNINGS_AS_ERRORS}>:-Werror>)
# What C and C++ share.
add_library(quipu_hardening INTERFACE)
target_link_libraries(quipu_flags INTERFACE quipu_hardening)
if(QUIPU_SANITIZE)
    target_compile_options(quipu_hardening INTERFACE -fsanitize=${QUIPU_SANITIZE} -fno-omit-frame-pointer
                           -fno-sanitize-recover=undefined)
    target_link_options(quipu_hardening INTERFACE -fsanitize=${QUIPU_SANITIZE})
elseif(CMAKE_BUILD_TYPE MATCHES "Rel")
    target_compile_options(quipu_hardening INTERFACE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
                           -fstack-protector-strong -fstack-clash-protection -fcf-protection)
    target_link_options(quipu_hardening INTERFACE -Wl,-z,relro -Wl,-z,now)
endif()
if(QUIPU_FAILPOINTS)
    target_compile_definitions(quipu_flags INTERFACE QUIPU_FAILPOINTS)
endif()

# quipu_add_module(name SOURCES … HEADERS … DEPENDS …)
#   SOURCES  relative to the calling folder; HEADERS below include/; DEPENDS targets (modules, libraries).
# Makes the static library quipu_<name>. `include/` is public, `internal/` is for modules above it in
# this tree and never installed, `src/` is private.
function(quipu_add_module name)
    cmake_parse_arguments(ARG "" "" "SOURCES;HEADERS;DEPENDS" ${ARGN})
    add_library(quipu_${name} STATIC ${ARG_SOURCES})
    target_sources(quipu_${name} PUBLIC FILE_SET HEADERS BASE_DIRS include FILES ${ARG_HEADERS})
    target_link_libraries(quipu_${name} PRIVATE quipu_flags PUBLIC ${ARG_DEPENDS})
    target_include_directories(quipu_${name} PRIVATE src)
    if(EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/internal)
        target_include_directories(quipu_${name} PUBLIC $<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/internal>)
    endif()
    set_target_properties(quipu_${name} PROPERTIES
        POSITION_INDEPENDENT_CODE ON C_VISIBILITY_PRESET hidden C_EXTENSIONS OFF
        VERIFY_INTERFACE_HEADER_SETS ON)
endfunction()
