/* Loads a SavedModel with the TensorFlow C library, runs it, prints the outputs.
 *
 * No Python is in it: what answers here answers in any runtime that links TensorFlow
 * and has the same ops, as TF-Serving does.
 *
 *   predict FOLDER [-l LIBRARY]... { [-s TENSOR DIMS HEX...] [-i TENSOR DIMS INT...]
 *                                    [-o TENSOR]... -r }...
 *
 * -l loads a library of ops; -s feeds strings, each in hexadecimal, of the shape DIMS ("2,3";
 * "" is a scalar), -i int32 values; -r runs what stands before it, and prints each -o as one
 * line: tensor, dtype, dims, then the values, tab-separated, strings in hexadecimal.
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

static char digit(const char* text, char c) {
  const char* digits = "0123456789abcdef";
  const char* place = c ? strchr(digits, c) : NULL;
  if (!place) fail(text, "not hexadecimal");
  return (char)(place - digits);
}

static void set_string(TF_TString* string, const char* hex) {
  size_t size = strlen(hex) / 2;
  char* bytes = malloc(size + 1);
  if (!bytes) fail("memory", "there is none left");
  for (size_t i = 0; i < size; i++)
    bytes[i] = (char)(digit(hex, hex[2 * i]) << 4 | digit(hex, hex[2 * i + 1]));
  TF_StringInit(string);
  TF_StringCopy(string, bytes, size);
  free(bytes);
}

static TF_Tensor* make_strings(const int64_t* dims, int rank, int64_t elements, char** values) {
  TF_Tensor* tensor = TF_AllocateTensor(TF_STRING, dims, rank, elements * sizeof(TF_TString));
  TF_TString* strings = TF_TensorData(tensor);
  for (int64_t i = 0; i < elements; i++) set_string(&strings[i], values[i]);
  return tensor;
}

static TF_Tensor* make_ints(const int64_t* dims, int rank, int64_t elements, char** values) {
  TF_Tensor* tensor = TF_AllocateTensor(TF_INT32, dims, rank, elements * sizeof(int32_t));
  int32_t* ints = TF_TensorData(tensor);
  for (int64_t i = 0; i < elements; i++) ints[i] = (int32_t)strtol(values[i], NULL, 10);
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
      const char* bytes = TF_StringGetDataPointer(text);
      printf("\t");
      for (size_t c = 0; c < TF_StringGetSize(text); c++) printf("%02x", (unsigned char)bytes[c]);
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

static void run(TF_Session* session, Tensors* inputs, Tensors* outputs, TF_Status* status) {
  TF_SessionRun(session, NULL, inputs->places, inputs->tensors, inputs->count, outputs->places,
                outputs->tensors, outputs->count, NULL, 0, NULL, status);
  check("run", status);
  for (int i = 0; i < outputs->count; i++) {
    print_tensor(outputs->names[i], outputs->tensors[i]);
    TF_DeleteTensor(outputs->tensors[i]);
  }
  for (int i = 0; i < inputs->count; i++) TF_DeleteTensor(inputs->tensors[i]);
  inputs->count = outputs->count = 0;
}

/* Reads one input, of which the first word is at argv[i]; how many words it has. */
static int read_input(int i, int argc, char** argv, TF_Graph* graph, Tensors* inputs) {
  int64_t dims[MAX_DIMS], elements;
  int rank = parse_dims(argv[i + 2], dims, &elements);
  if (i + 3 + elements > argc) fail(argv[i + 1], "fewer values than elements");
  char** values = &argv[i + 3];
  add(inputs, graph, argv[i + 1],
      argv[i][1] == 's' ? make_strings(dims, rank, elements, values)
                        : make_ints(dims, rank, elements, values));
  return 3 + (int)elements;
}

static void run_all(int argc, char** argv, TF_Graph* graph, TF_Session* session,
                    TF_Status* status) {
  Tensors inputs = {0}, outputs = {0};
  for (int i = 2; i < argc;) {
    if (strcmp(argv[i], "-l") == 0 && i + 1 < argc) {
      i += 2;
    } else if (strcmp(argv[i], "-r") == 0) {
      run(session, &inputs, &outputs, status);
      i += 1;
    } else if (strcmp(argv[i], "-o") == 0 && i + 1 < argc) {
      add(&outputs, graph, argv[i + 1], NULL);
      i += 2;
    } else if ((strcmp(argv[i], "-s") == 0 || strcmp(argv[i], "-i") == 0) && i + 2 < argc) {
      i += read_input(i, argc, argv, graph, &inputs);
    } else {
      fail(argv[i], "not understood");
    }
  }
}

int main(int argc, char** argv) {
  if (argc < 2) fail("usage", "predict FOLDER [-l ..] { [-s ..] [-i ..] [-o ..] -r }");
  TF_Status* status = TF_NewStatus();
  TF_Graph* graph = TF_NewGraph();

  load_libraries(argc, argv, status);
  TF_Session* session = load_model(argv[1], graph, status);
  run_all(argc, argv, graph, session, status);

  TF_CloseSession(session, status);
  TF_DeleteSession(session, status);
  TF_DeleteGraph(graph);
  TF_DeleteStatus(status);
  return 0;
}
