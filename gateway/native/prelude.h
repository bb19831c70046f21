#include "directory.h"
#include "gateway.h"
#include "replay.h"
#include "shm_reader.h"
