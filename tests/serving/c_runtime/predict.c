/* Loads a SavedModel with the TensorFlow C library, runs it once, prints the outputs.
 *
 * No Python is in it: what answers here answers in any runtime that links TensorFlow
 * and has the same ops, as TF-Serving does.
 *
 *   predict FOLDER [-l LIBRARY]... [-s TENSOR DIMS VALUE...]... [-i TENSOR INT]... [-o TENSOR]...
 *
 * -l loads a library of ops; -s feeds strings of the shape DIMS ("2,3"), -i an int32 scalar;
 * -o prints an output as one line: tensor, dtype, dims, then the values, tab-separated.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensorflow/c/c_api.h"
#include "tensorflow/c/tf_tstring.h"

#define MAX_TENSORS 16
#define MAX_DIMS 8

typedef struct {
  TF_Output places[MAX_TENSORS];
  TF_Tensor* tensors[MAX_TENSORS];
  const char* names[MAX_TENSORS];
  int count;
} Tensors;

static void fail(const char* what, const char* why) {
  fprintf(stderr, "%s: %s\n", what, why);
  exit(1);
}

static void check(const char* what, TF_Status* status) {
  if (TF_GetCode(status) != TF_OK) fail(what, TF_Message(status));
}

static void load_library(const char* file, TF_Status* status) {
  TF_LoadLibrary(file, status);
  check(file, status);
}

static TF_Session* load_model(const char* folder, TF_Graph* graph, TF_Status* status) {
  const char* tags[] = {"serve"};
  TF_SessionOptions* options = TF_NewSessionOptions();
  TF_Session* session =
      TF_LoadSessionFromSavedModel(options, NULL, folder, tags, 1, graph, NULL, status);
  TF_DeleteSessionOptions(options);
  check(folder, status);
  return session;
}

/* "operation:index" */
static TF_Output find(TF_Graph* graph, const char* name) {
  char operation[512];
  const char* colon = strrchr(name, ':');
  if (!colon || (size_t)(colon - name) >= sizeof operation) fail(name, "not operation:index");
  memcpy(operation, name, colon - name);
  operation[colon - name] = '\0';
  TF_Output place = {TF_GraphOperationByName(graph, operation), atoi(colon + 1)};
  if (!place.oper) fail(name, "no such operation in the graph");
  return place;
}

static void add(Tensors* list, TF_Graph* graph, const char* name, TF_Tensor* tensor) {
  if (list->count == MAX_TENSORS) fail(name, "too many tensors");
  list->places[list->count] = find(graph, name);
  list->names[list->count] = name;
  list->tensors[list->count++] = tensor;
}

static int parse_dims(const char* text, int64_t* dims, int64_t* elements) {
  char copy[256];
  int rank = 0;
  *elements = 1;
  snprintf(copy, sizeof copy, "%s", text);
  for (char* part = strtok(copy, ","); part; part = strtok(NULL, ",")) {
    if (rank == MAX_DIMS) fail(text, "too many dimensions");
    dims[rank] = strtoll(part, NULL, 10);
    *elements *= dims[rank++];
  }
  return rank;
}

static TF_Tensor* make_strings(const int64_t* dims, int rank, int64_t elements, char** values) {
  TF_Tensor* tensor = TF_AllocateTensor(TF_STRING, dims, rank, elements * sizeof(TF_TString));
  TF_TString* strings = TF_TensorData(tensor);
  for (int64_t i = 0; i < elements; i++) {
    TF_StringInit(&strings[i]);
    TF_StringCopy(&strings[i], values[i], strlen(values[i]));
  }
  return tensor;
}

static TF_Tensor* make_int(const char* value) {
  TF_Tensor* tensor = TF_AllocateTensor(TF_INT32, NULL, 0, sizeof(int32_t));
  *(int32_t*)TF_TensorData(tensor) = (int32_t)strtol(value, NULL, 10);
  return tensor;
}

static void print_value(const TF_Tensor* tensor, int64_t i) {
  void* data = TF_TensorData(tensor);
  switch (TF_TensorType(tensor)) {
    case TF_FLOAT:
      printf("\t%.9g", ((float*)data)[i]);
      break;
    case TF_INT32:
      printf("\t%" PRId32, ((int32_t*)data)[i]);
      break;
    case TF_STRING: {
      const TF_TString* text = &((TF_TString*)data)[i];
      printf("\t%.*s", (int)TF_StringGetSize(text), TF_StringGetDataPointer(text));
      break;
    }
    default:
      fail("output", "a dtype that is not printed here");
  }
}

static void print_tensor(const char* name, const TF_Tensor* tensor) {
  int64_t elements = 1;
  printf("%s\t%d\t", name, (int)TF_TensorType(tensor));
  for (int d = 0; d < TF_NumDims(tensor); d++) {
    printf(d ? ",%" PRId64 : "%" PRId64, TF_Dim(tensor, d));
    elements *= TF_Dim(tensor, d);
  }
  for (int64_t i = 0; i < elements; i++) print_value(tensor, i);
  printf("\n");
}

/* Libraries must be there before the model that uses their ops. */
static void load_libraries(int argc, char** argv, TF_Status* status) {
  for (int i = 2; i + 1 < argc; i++)
    if (strcmp(argv[i], "-l") == 0) load_library(argv[i + 1], status);
}

static void parse(int argc, char** argv, TF_Graph* graph, Tensors* inputs, Tensors* outputs) {
  int64_t dims[MAX_DIMS], elements;
  for (int i = 2; i < argc;) {
    if (strcmp(argv[i], "-l") == 0 && i + 1 < argc) {
      i += 2;
    } else if (strcmp(argv[i], "-o") == 0 && i + 1 < argc) {
      add(outputs, graph, argv[i + 1], NULL);
      i += 2;
    } else if (strcmp(argv[i], "-i") == 0 && i + 2 < argc) {
      add(inputs, graph, argv[i + 1], make_int(argv[i + 2]));
      i += 3;
    } else if (strcmp(argv[i], "-s") == 0 && i + 2 < argc) {
      int rank = parse_dims(argv[i + 2], dims, &elements);
      if (i + 3 + elements > argc) fail(argv[i + 1], "fewer values than elements");
      add(inputs, graph, argv[i + 1], make_strings(dims, rank, elements, &argv[i + 3]));
      i += 3 + (int)elements;
    } else {
      fail(argv[i], "not understood");
    }
  }
}

int main(int argc, char** argv) {
  if (argc < 2) fail("usage", "predict FOLDER [-l ..] [-s ..] [-i ..] [-o ..]");
  TF_Status* status = TF_NewStatus();
  TF_Graph* graph = TF_NewGraph();
  Tensors inputs = {0}, outputs = {0};

  load_libraries(argc, argv, status);
  TF_Session* session = load_model(argv[1], graph, status);
  parse(argc, argv, graph, &inputs, &outputs);
  TF_SessionRun(session, NULL, inputs.places, inputs.tensors, inputs.count, outputs.places,
                outputs.tensors, outputs.count, NULL, 0, NULL, status);
  check("run", status);
  for (int i = 0; i < outputs.count; i++) print_tensor(outputs.names[i], outputs.tensors[i]);

  TF_CloseSession(session, status);
  TF_DeleteSession(session, status);
  TF_DeleteGraph(graph);
  TF_DeleteStatus(status);
  return 0;
}
