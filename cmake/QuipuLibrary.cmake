# libquipu.so: the modules below the network as one shared library. TARGET_OBJECTS and not
# WHOLE_ARCHIVE, because CMake 3.25 refuses the latter for modules that link one another.
set(QUIPU_CORE_MODULES base cid store engine airgap)
set(objects "")
set(include_dirs "")
foreach(module IN LISTS QUIPU_CORE_MODULES)
    list(APPEND objects $<TARGET_OBJECTS:quipu_${module}>)
    list(APPEND include_dirs $<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/${module}/include>)
endforeach()

# quipu_add_shared(target OUTPUT name OBJECTS … LIBRARIES …)
function(quipu_add_shared target)
    cmake_parse_arguments(ARG "" "OUTPUT" "OBJECTS;LIBRARIES" ${ARGN})
    add_library(${target} SHARED ${ARG_OBJECTS})
    target_link_libraries(${target} PRIVATE quipu_flags ${ARG_LIBRARIES})
    set_target_properties(${target} PROPERTIES OUTPUT_NAME ${ARG_OUTPUT} LINKER_LANGUAGE C
        VERSION ${PROJECT_VERSION} SOVERSION 0)
    target_link_options(${target} PRIVATE
        -Wl,--version-script=${PROJECT_SOURCE_DIR}/cmake/quipu.map)
    set_property(TARGET ${target} APPEND PROPERTY LINK_DEPENDS ${PROJECT_SOURCE_DIR}/cmake/quipu.map)
    if(NOT QUIPU_SANITIZE)
        target_link_options(${target} PRIVATE -Wl,-z,defs)
    endif()
endfunction()

quipu_add_shared(quipu OUTPUT quipu OBJECTS ${objects}
    LIBRARIES PkgConfig::LMDB PkgConfig::SODIUM PkgConfig::CRYPTO Threads::Threads)
target_include_directories(quipu INTERFACE ${include_dirs}
    $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
add_library(quipu::quipu ALIAS quipu)
