# What `cmake --install` puts where: the shared libraries, the public headers of every module below
# include/quipu/, the program, the manual page, and the files by which find_package(quipu) and
# pkg-config find them. The installed tree may be moved: no file in it names the prefix. Packagers who
# want no RPATH set CMAKE_SKIP_INSTALL_RPATH.
option(QUIPU_INSTALL "Make the install target" ${PROJECT_IS_TOP_LEVEL})
if(NOT QUIPU_INSTALL)
    return()
endif()
include(CMakePackageConfigHelpers)
set(QUIPU_CMAKE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/quipu)

# quipu_install_headers(module…): the header sets, and nothing that is not in one.
function(quipu_install_headers)
    foreach(module IN LISTS ARGN)
        if(TARGET quipu_${module})
            get_target_property(headers quipu_${module} HEADER_SET)
            install(FILES ${headers} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/quipu)
        endif()
    endforeach()
endfunction()

# quipu_install_library(target description requires): the library, its CMake targets and its .pc file.
# There are shared libraries only and no public header includes another project's, so a .pc file names
# neither Requires.private nor Libs.private: who embeds quipu needs no -dev package but quipu's own.
function(quipu_install_library target description requires)
    install(TARGETS ${target} EXPORT ${target}-targets
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
        INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
    install(EXPORT ${target}-targets NAMESPACE quipu:: DESTINATION ${QUIPU_CMAKE_DIR})

    set(QUIPU_PC_REQUIRES ${requires})
    set(QUIPU_PC_DESCRIPTION ${description})
    set(QUIPU_PC_NAME ${target})
    # The way from the .pc file up to the prefix depends on how deep LIBDIR is: lib, or lib/<triplet>.
    file(RELATIVE_PATH QUIPU_PC_UP ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
    string(REGEX REPLACE "/$" "" QUIPU_PC_UP ${QUIPU_PC_UP})
    file(RELATIVE_PATH QUIPU_PC_LIBDIR ${CMAKE_INSTALL_PREFIX} ${CMAKE_INSTALL_FULL_LIBDIR})
    file(RELATIVE_PATH QUIPU_PC_INCLUDEDIR ${CMAKE_INSTALL_PREFIX} ${CMAKE_INSTALL_FULL_INCLUDEDIR})
    configure_file(${PROJECT_SOURCE_DIR}/cmake/quipu.pc.in ${PROJECT_BINARY_DIR}/${target}.pc @ONLY)
    install(FILES ${PROJECT_BINARY_DIR}/${target}.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endfunction()

quipu_install_library(quipu "${PROJECT_DESCRIPTION}" "")
quipu_install_headers(base cid store engine airgap)
if(TARGET quipu-jetstream)
    set_target_properties(quipu-jetstream PROPERTIES INSTALL_RPATH $ORIGIN)
    quipu_install_library(quipu-jetstream "NATS JetStream for quipu: flush, pull, payload store"
        "quipu = ${PROJECT_VERSION}")
    quipu_install_headers(jetstream)
endif()

configure_package_config_file(cmake/quipu-config.cmake.in ${PROJECT_BINARY_DIR}/quipu-config.cmake
    INSTALL_DESTINATION ${QUIPU_CMAKE_DIR})
# Before 1.0 a minor version may break what the one before it promised.
write_basic_package_version_file(${PROJECT_BINARY_DIR}/quipu-config-version.cmake
    COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/quipu-config.cmake
    ${PROJECT_BINARY_DIR}/quipu-config-version.cmake DESTINATION ${QUIPU_CMAKE_DIR})

if(TARGET quipu-cli)
    file(RELATIVE_PATH QUIPU_BIN_TO_LIB ${CMAKE_INSTALL_FULL_BINDIR} ${CMAKE_INSTALL_FULL_LIBDIR})
    set_target_properties(quipu-cli PROPERTIES INSTALL_RPATH $ORIGIN/${QUIPU_BIN_TO_LIB})
    install(TARGETS quipu-cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
if(EXISTS ${PROJECT_SOURCE_DIR}/docs/quipu.1)
    install(FILES docs/quipu.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
endif()
# What VERIFY.txt sends an auditor to, and what whoever writes a reader needs.
install(FILES docs/AIRGAP.md docs/SPEC.md docs/airgap-flow.svg docs/airgap-bundle.svg docs/airgap-door.svg
        DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES LICENSE README.md CHANGELOG.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
