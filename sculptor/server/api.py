from fastapi import APIRouter
def api_router(lanes): return APIRouter()
