# find_package(stackwarden CONFIG): the public headers, as the interface target stackwarden::stackwarden.
#
#     find_package(Python REQUIRED COMPONENTS Interpreter Development.Module)
#     find_package(stackwarden CONFIG REQUIRED)    # -Dstackwarden_DIR=$(python -m stackwarden --cmakedir)
#     Python_add_library(mine MODULE WITH_SOABI mine.c)
#     target_link_libraries(mine PRIVATE stackwarden::stackwarden)
#
# Nothing is linked: the headers find the package at run time. Python's own headers are the caller's.
# All places are relative to this file, so the package may be moved.

if(NOT TARGET stackwarden::stackwarden)
  get_filename_component(stackwarden_INCLUDE_DIR "${CMAKE_CURRENT_LIST_DIR}/../include" ABSOLUTE)
  add_library(stackwarden::stackwarden INTERFACE IMPORTED)
  set_target_properties(stackwarden::stackwarden PROPERTIES
    INTERFACE_INCLUDE_DIRECTORIES "${stackwarden_INCLUDE_DIR}")
endif()
