#include "directory.h"
#include "gateway.h"
#include "shm_reader.h"
