// by_hand.cpp: the least that keeps interleaved Python frames apart with the documented calls alone, to compare with.
//
// A coroutine on Boost's jump and a PyThreadState of its own, swapped with PyThreadState_Swap. It tells CPython
// nothing of its stack, keeps no context, raises nothing and frees nothing: a benchmark's measure, not a model.
#include <Python.h>

#include <boost/context/detail/fcontext.hpp>
#include <boost/context/fixedsize_stack.hpp>

namespace ctx = boost::context::detail;

namespace {

struct Coroutine {
    ctx::fcontext_t place;
    ctx::fcontext_t resumer;
    PyThreadState *own;
    PyThreadState *outer;
    PyObject *function;
};

Coroutine *running;

void entry(ctx::transfer_t arrived)
{
    auto *self = static_cast<Coroutine *>(arrived.data);
    self->resumer = arrived.fctx;
    Py_XDECREF(PyObject_CallNoArgs(self->function));
    PyThreadState_Swap(self->outer);
    ctx::jump_fcontext(self->resumer, nullptr);
}

PyObject *resume(PyObject *capsule, PyObject *)
{
    auto *self = static_cast<Coroutine *>(PyCapsule_GetPointer(capsule, nullptr));
    running = self;
    self->outer = PyThreadState_Swap(self->own);
    self->place = ctx::jump_fcontext(self->place, self).fctx;
    Py_RETURN_NONE;
}

PyMethodDef resume_method = {"resume", resume, METH_NOARGS, nullptr};

// start(function) -> resume
PyObject *start(PyObject *, PyObject *function)
{
    auto *self = new Coroutine{};
    boost::context::stack_context stack = boost::context::fixedsize_stack(std::size_t{256} * 1024).allocate();
    self->place = ctx::make_fcontext(stack.sp, stack.size, entry);
    self->own = PyThreadState_New(PyInterpreterState_Get());
    self->function = Py_NewRef(function);
    PyObject *capsule = PyCapsule_New(self, nullptr, nullptr);
    PyObject *bound = PyCFunction_New(&resume_method, capsule);
    Py_DECREF(capsule);
    return bound;
}

PyObject *suspend(PyObject *, PyObject *)
{
    Coroutine *self = running;
    PyThreadState_Swap(self->outer);
    self->resumer = ctx::jump_fcontext(self->resumer, nullptr).fctx;
    Py_RETURN_NONE;
}

PyMethodDef methods[] = {
    {"start", start, METH_O, nullptr},
    {"suspend", suspend, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

PyModuleDef module = {PyModuleDef_HEAD_INIT, "by_hand", nullptr, -1, methods, nullptr, nullptr, nullptr, nullptr};

} // namespace

PyMODINIT_FUNC PyInit_by_hand()
{
    return PyModule_Create(&module);
}
